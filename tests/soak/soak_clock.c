/* Shifts the clock of the processes that preload it, by the nanoseconds that the file named in SOAK_CLOCK holds.

   Only what tells or awaits the time of day is shifted: CLOCK_MONOTONIC goes on as it is, as on a machine whose
   clock is set. The file is mapped, so that a jump is seen by every process at once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
/* A deadline above this is a time of day; below it, it counts from the start of the machine. */
#define DATES_BEGIN 1000000000

static volatile int64_t *shift;

__attribute__((constructor)) static void map_shift(void) {
  const char *path = getenv("SOAK_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *found = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
  if (found != MAP_FAILED) shift = found;
  close(file);
}

static struct timespec moved(struct timespec at, int64_t by) {
  int64_t nanoseconds = at.tv_nsec + by % SECOND;
  at.tv_sec += by / SECOND;
  if (nanoseconds < 0) { nanoseconds += SECOND; at.tv_sec -= 1; }
  if (nanoseconds >= SECOND) { nanoseconds -= SECOND; at.tv_sec += 1; }
  at.tv_nsec = nanoseconds;
  return at;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
  long failed = syscall(SYS_clock_gettime, clock, at);
  if (!failed && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) *at = moved(*at, *shift);
  return (int)failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
  (void)zone;
  struct timespec now;
  int failed = clock_gettime(CLOCK_REALTIME, &now);
  if (!failed) { at->tv_sec = now.tv_sec; at->tv_usec = now.tv_nsec / 1000; }
  return failed;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}

int timespec_get(struct timespec *at, int base) {
  return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, at) == 0 ? base : 0;
}

/* What the kernel awaits is its own time of day. */
static struct timespec awaited(const struct timespec *until) {
  return shift && until->tv_sec > DATES_BEGIN ? moved(*until, -*shift) : *until;
}

static void *real(const char *name, const char *version) {
  void *found = version ? dlvsym(RTLD_NEXT, name, version) : NULL;
  return found ? found : dlsym(RTLD_NEXT, name);
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
  static int (*call)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
  if (!call) call = real("pthread_cond_timedwait", "GLIBC_2.3.2"); /* the older one is another structure's */
  struct timespec at = awaited(until);
  return call(condition, mutex, &at);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
  static int (*call)(sem_t *, const struct timespec *);
  if (!call) call = real("sem_timedwait", NULL);
  struct timespec at = awaited(until);
  return call(semaphore, &at);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
  static int (*call)(pthread_mutex_t *, const struct timespec *);
  if (!call) call = real("pthread_mutex_timedlock", NULL);
  struct timespec at = awaited(until);
  return call(mutex, &at);
}
