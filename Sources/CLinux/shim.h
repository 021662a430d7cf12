// Linux calls that Swift's import of glibc does not show: its module leaves out these headers, or is read without _GNU_SOURCE.
#ifndef TANDEM_CLINUX_SHIM_H
#define TANDEM_CLINUX_SHIM_H

// First, so that what both include stays the C library's: else files that import Glibc alone no longer find it.
#pragma clang module import SwiftGlibc

#include <fcntl.h>
#include <malloc.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

// struct mmsghdr, which only _GNU_SOURCE declares.
struct tandem_mmsghdr {
    struct msghdr msg_hdr;
    unsigned int msg_len;
};

static inline int tandem_recvmmsg(int socket, struct tandem_mmsghdr *messages, unsigned int count, int flags) {
    extern int recvmmsg(int, struct tandem_mmsghdr *, unsigned int, int, void *);
    return recvmmsg(socket, messages, count, flags, 0);
}

static inline int tandem_sendmmsg(int socket, struct tandem_mmsghdr *messages, unsigned int count, int flags) {
    extern int sendmmsg(int, struct tandem_mmsghdr *, unsigned int, int);
    return sendmmsg(socket, messages, count, flags);
}

static inline void tandem_allocate_in_one_arena(void) { mallopt(M_ARENA_MAX, 1); }

// Both ends are closed in every other program that is started meanwhile.
static inline int tandem_pipe(int *ends) {
    extern int pipe2(int *, int);
    return pipe2(ends, O_CLOEXEC);
}

static inline int tandem_spawn_close_from(posix_spawn_file_actions_t *actions, int first) {
    extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *, int);
    return posix_spawn_file_actions_addclosefrom_np(actions, first);
}

// What `ps` and `pkill` know this process by: at most 15 octets.
static inline void tandem_set_process_name(const char *name) { prctl(PR_SET_NAME, name); }

static inline int tandem_pidfd_open(int process) {
    extern int pidfd_open(int, unsigned int);
    return pidfd_open(process, 0);
}

static inline int tandem_pidfd_send_signal(int process, int signal) {
    extern int pidfd_send_signal(int, int, void *, unsigned int);
    return pidfd_send_signal(process, signal, 0, 0);
}

// The calling thread's capabilities (capabilities(7)), a bit for each. glibc has no calls for them.
struct tandem_capabilities {
    uint64_t effective, permitted, inheritable;
};

struct tandem_capability_header {
    uint32_t version;  // _LINUX_CAPABILITY_VERSION_3: two words for each set.
    int process;
};

struct tandem_capability_words {
    uint32_t effective, permitted, inheritable;
};

static inline int tandem_capget(struct tandem_capabilities *sets) {
    extern long syscall(long, ...);
    struct tandem_capability_header header = {0x20080522, 0};
    struct tandem_capability_words words[2] = {{0, 0, 0}, {0, 0, 0}};
    if (syscall(SYS_capget, &header, words) != 0) return -1;
    sets->effective = words[0].effective | (uint64_t)words[1].effective << 32;
    sets->permitted = words[0].permitted | (uint64_t)words[1].permitted << 32;
    sets->inheritable = words[0].inheritable | (uint64_t)words[1].inheritable << 32;
    return 0;
}

static inline int tandem_capset(struct tandem_capabilities sets) {
    extern long syscall(long, ...);
    struct tandem_capability_header header = {0x20080522, 0};
    struct tandem_capability_words words[2] = {
        {(uint32_t)sets.effective, (uint32_t)sets.permitted, (uint32_t)sets.inheritable},
        {(uint32_t)(sets.effective >> 32), (uint32_t)(sets.permitted >> 32), (uint32_t)(sets.inheritable >> 32)},
    };
    return (int)syscall(SYS_capset, &header, words);
}

// 1: in the bounding set; 0: not; -1: the kernel has no such capability.
static inline int tandem_bounding_has(int capability) { return prctl(PR_CAPBSET_READ, (unsigned long)capability, 0, 0, 0); }
static inline int tandem_bounding_drop(int capability) { return prctl(PR_CAPBSET_DROP, (unsigned long)capability, 0, 0, 0); }
static inline int tandem_no_new_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }
static inline int tandem_not_dumpable(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }

// No core, whatever a parent allowed.
static inline int tandem_no_core(void) {
    struct rlimit none = {0, 0};
    return setrlimit(RLIMIT_CORE, &none);
}

// Raised to infinity where that is allowed. 0: there is no limit.
static inline int tandem_unlimited_memory_lock(void) {
    struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    return setrlimit(RLIMIT_MEMLOCK, &none);
}

// Pages are locked when they are first used, and not all at once.
static inline int tandem_lock_memory(void) {
    extern int mlockall(int);
    return mlockall(1 /* MCL_CURRENT */ | 2 /* MCL_FUTURE */ | 4 /* MCL_ONFAULT */);
}

#endif
