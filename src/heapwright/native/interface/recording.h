/* recording.h: start and stop a recording from within the program.

   The functions belong to the recorder, which `heapwright record` preloads. They are weak, so the program also runs
   without the recorder; their addresses are then null. The two functions of this header look at that first.

   Recording starts and stops for all threads and all processes of the run. Under `heapwright record --control`, a run
   begins with a pause. Blocks from before a start are unknown. Any thread may call them, and they call no malloc. */

#ifndef HEAPWRIGHT_RECORDING_H
#define HEAPWRIGHT_RECORDING_H

#ifdef __cplusplus
extern "C" {
#endif

__attribute__((weak)) long heapwright_recording_start(void);
__attribute__((weak)) long heapwright_recording_stop(void);

/* Start recording: 1, or 0 if calls are recorded already. -1 if the program does not run under
   `heapwright record --control`, or if that recording has ended. */
static inline long heapwright_start(void) {
    return heapwright_recording_start ? heapwright_recording_start() : -1;
}

/* Stop recording: 1, or 0 in a pause. -1 as above. */
static inline long heapwright_stop(void) {
    return heapwright_recording_stop ? heapwright_recording_stop() : -1;
}

#ifdef __cplusplus
}
#endif

#endif
