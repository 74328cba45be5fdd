// C++ with strings and maps: what is left of a large map keeps its pages.
//
//     c++ -O1 -std=c++17 -o strings examples/memory/strings.cpp && ./strings
//
// 200,000 entries are made and 19 of 20 erased. A line `trim` on standard input calls malloc_trim(0) and prints by how
// many bytes the resident set shrank.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <malloc.h>
#include <map>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

struct Session {
    virtual ~Session() = default;
    long number = 0;
    char state[120] = {1};
};

static long resident()
{
    std::ifstream file("/proc/self/smaps_rollup");
    for (std::string word; file >> word;)
        if (word == "Rss:") {
            long kib = 0;
            file >> kib;
            return kib * 1024;
        }
    return 0;
}

int main()
{
    std::map<long, std::string> names;
    std::vector<std::unique_ptr<Session>> sessions;
    for (long i = 0; i < 200000; i++) {
        names[i] = "customer number " + std::to_string(i) + std::string(i % 900, 'x');
        if (i % 40 == 0)
            sessions.push_back(std::make_unique<Session>());
    }
    for (long i = 0; i < 200000; i++)
        if (i % 20)
            names.erase(i);
    std::cout << "ready: process " << getpid() << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
        long before = resident();
        malloc_trim(0);
        std::cout << before - resident() << std::endl;
    }
}
