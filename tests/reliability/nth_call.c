/* Lets the n-th call of one system function fail, for files whose path holds a given text.
 *
 * Loaded by LD_PRELOAD, it does nothing until nth_call_arm. When the call comes that is to fail, a
 * file is made at `marker`, so that the test knows. See nth_call.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static char armed[16], path_part[4096], marker[4096];
static long countdown;
static int failure, sticky;

void nth_call_arm(const char *call, long nth, int error, int from_then_on, const char *part,
                  const char *file) {
    snprintf(path_part, sizeof path_part, "%s", part);
    snprintf(marker, sizeof marker, "%s", file);
    countdown = nth;
    failure = error;
    sticky = from_then_on;
    snprintf(armed, sizeof armed, "%s", call);
}

static int fails(const char *call, const char *path) {
    long left;
    if (!armed[0] || strcmp(call, armed) || !strstr(path, path_part)) return 0;
    left = __sync_sub_and_fetch(&countdown, 1);
    if (left > 0 || (left < 0 && !sticky)) return 0;
    syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, marker, O_CREAT | O_WRONLY, 0600));
    errno = failure;
    return 1;
}

static int fails_on(const char *call, int descriptor) {
    char link[64], path[4096];
    ssize_t length;
    if (!armed[0] || descriptor <= 2 || strcmp(call, armed)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    return fails(call, path);
}

/* A relative path counts as one in the folder that the process is in. */
static int fails_at(const char *call, const char *path) {
    char whole[8192], folder[4096];
    if (!armed[0] || strcmp(call, armed) || path == NULL) return 0;
    if (path[0] == '/' || syscall(SYS_getcwd, folder, sizeof folder) < 0) return fails(call, path);
    snprintf(whole, sizeof whole, "%s/%s", folder, path);
    return fails(call, whole);
}

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

#define OPENING(name)                                  \
    int name(const char *path, int flags, ...) {       \
        va_list rest;                                  \
        mode_t mode;                                   \
        va_start(rest, flags);                         \
        mode = va_arg(rest, mode_t);                   \
        va_end(rest);                                  \
        if (fails_at("open", path)) return -1;         \
        return REAL(name)(path, flags, mode);          \
    }
OPENING(open)
OPENING(open64)

#define ON_DESCRIPTOR(result, name, call, declared, passed) \
    result name declared {                                  \
        if (fails_on(call, fd)) return -1;                  \
        return REAL(name) passed;                           \
    }
ON_DESCRIPTOR(ssize_t, read, "read", (int fd, void *to, size_t size), (fd, to, size))
ON_DESCRIPTOR(ssize_t, pread, "read", (int fd, void *to, size_t size, off_t at), (fd, to, size, at))
ON_DESCRIPTOR(ssize_t, pread64, "read", (int fd, void *to, size_t size, off64_t at),
              (fd, to, size, at))
ON_DESCRIPTOR(ssize_t, write, "write", (int fd, const void *from, size_t size), (fd, from, size))
ON_DESCRIPTOR(ssize_t, pwrite, "write", (int fd, const void *from, size_t size, off_t at),
              (fd, from, size, at))
ON_DESCRIPTOR(ssize_t, pwrite64, "write", (int fd, const void *from, size_t size, off64_t at),
              (fd, from, size, at))
ON_DESCRIPTOR(int, fsync, "fsync", (int fd), (fd))
ON_DESCRIPTOR(int, ftruncate, "write", (int fd, off_t size), (fd, size))
ON_DESCRIPTOR(int, ftruncate64, "write", (int fd, off64_t size), (fd, size))

#define AT_TARGET(name, call, declared, passed)  \
    int name declared {                          \
        if (fails_at(call, target)) return -1;   \
        return REAL(name) passed;                \
    }
AT_TARGET(rename, "rename", (const char *source, const char *target), (source, target))
AT_TARGET(link, "rename", (const char *source, const char *target), (source, target))
AT_TARGET(linkat, "rename", (int from, const char *source, int to, const char *target, int flags),
          (from, source, to, target, flags))
