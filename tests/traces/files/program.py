import threading


def parse_row(n):
    return bytearray(n)


def worker():
    keep.append(parse_row(30000))


keep = [parse_row(10000 + i) for i in range(5)]
del keep[1]
t = threading.Thread(target=worker, name="worker")
t.start()
t.join()
