"""Programs that run while something is done to them, and the sources of some."""

from __future__ import annotations

import subprocess
import sys
import time

HEAD = "#include <stdlib.h>\n#include <stdio.h>\n#include <unistd.h>\n#include <pthread.h>\n#include <sys/wait.h>\n"
# Threads allocate most of the time, and print a line at the end if all was well.
THREADS = """
static void *work(void *argument) {
    void *kept[64] = {0};
    unsigned seed = (long)argument;
    while (access("stop", F_OK)) {
        for (int i = 0; i < 1000; i++) {
            seed = seed * 1664525u + 1013904223u;
            free(kept[seed >> 26]);
            kept[seed >> 26] = malloc(1 + (seed >> 8 & 1023));
        }
        usleep(2000);
    }
    for (int i = 0; i < 64; i++) free(kept[i]);
    return 0;
}
int main(void) {
    pthread_t threads[3];
    for (long i = 0; i < 3; i++) pthread_create(threads + i, 0, work, (void *)i);
    for (long i = 0; i < 3; i++) pthread_join(threads[i], 0);
    puts("well");
    return 0;
}
"""
IDLE = 'int main(void) { while (access("stop", F_OK)) { free(malloc(100)); sleep(1); } puts("well"); return 0; }\n'
BUSY = """
int main(void) {
    volatile double sum = 0;
    for (long i = 1; i % 10000000 || access("stop", F_OK); i++) {
        sum += 1.0 / i;
        if (i % 1000000 == 0) free(malloc(77));
    }
    puts(sum > 10 ? "well" : "wrong");
    return 0;
}
"""
FORKS = """
int main(void) {
    while (access("stop", F_OK)) {
        usleep(10000);
        void *volatile block = malloc(33);
        if (fork() == 0) { free(block), block = malloc(44); _exit(0); }
        wait(0), free(block);
    }
    puts("well");
    return 0;
}
"""
LOADS = """
#include <dlfcn.h>
int main(int count, char **arguments) {
    void *library = 0;
    while (access("stop", F_OK)) {
        if (!library && !access("load", F_OK)) library = dlopen(arguments[1], RTLD_LAZY);
        if (library) ((void (*)(void))dlsym(library, "ask"))();
        free(malloc(55));
        usleep(1000);
    }
    puts("well");
    return 0;
}
"""
BECOMES = """
int main(int count, char **arguments) {
    while (access("stop", F_OK)) free(malloc(88)), usleep(1000);
    return execl(arguments[1], "sleep", "100", (char *)0);
}
"""
ASKS = "#include <stdlib.h>\nvoid ask(void) { static void *volatile block; free(block); block = malloc(66); }\n"
# On each word it asks for 200,000 blocks of 500 bytes, half of which it keeps until the next one.
ROUNDS = """
int main(void) {
    static void *kept[100000];
    char name[] = "go0", done[] = "done0";
    while (access("stop", F_OK)) {
        usleep(1000);
        if (access(name, F_OK)) continue;
        for (int i = 0; i < 100000; i++) free(kept[i]), kept[i] = malloc(500), free(malloc(500));
        fclose(fopen(done, "w"));
        name[2]++, done[4]++;
    }
    puts("well");
    return 0;
}
"""
PYTHON = """
import os, time
class Row: pass
def load_rows():
    return [bytes(3000 + n) for n in range(100)]
while not os.path.exists("stop"):
    load_rows()
    time.sleep(0.001)
print("well")
"""


class Running:
    """A program that runs until it is told to stop, in a folder."""

    def __init__(self, folder, *command, **options):
        self.folder = folder
        self.process = subprocess.Popen(
            list(map(str, command)), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
        )
        self.pid = self.process.pid

    def end(self):
        """Stop it; what it printed."""
        (self.folder / "stop").touch()
        return self.process.communicate(timeout=60)[0]

    def words_of_malloc(self):
        """Whether a module of the program still leads to the recorder."""
        from heapwright.lab.attach import MALLOC
        from heapwright.live.process import Process
        from heapwright.live.slots import Slots

        process = Process(self.pid)
        modules = process.modules()
        recorders = [each for each in modules if "recorder-" in each.path or "sampler-" in each.path]
        slots = Slots(frozenset(MALLOC))
        return [
            (module.path, slot.name)
            for module in modules
            for recorder in recorders
            for slot in slots.of(module)
            if int.from_bytes(process.read(module.bias + slot.address, 8), "little") == recorder.address_of(slot.name)
        ]


def wait_for(path):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def attached(program, tmp_path, *options):
    """Attach in the background. The process, when it records."""
    command = [sys.executable, "-m", "heapwright", "attach", str(program.pid), "-o", str(tmp_path / "x.hwt"), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not program.words_of_malloc():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    time.sleep(0.3)
    return process
