// A method of a template allocates most; it is inlined into a function that is not.
#include <memory>
#include <vector>

namespace market {

template <typename Fruit> class Basket {
public:
    void fill(int count) {
        for (int i = 0; i < count; i++)
            fruit_.push_back(std::make_unique<Fruit>());
    }

private:
    std::vector<std::unique_ptr<Fruit>> fruit_;
};

struct Apple {
    char core[5000];
};

__attribute__((noinline)) void harvest(Basket<Apple> &basket) { basket.fill(100); }

} // namespace market

int main() {
    market::Basket<market::Apple> basket;
    market::harvest(basket);
}
