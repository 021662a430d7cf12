// Linux calls that Swift's import of glibc does not show: its module leaves out these headers, or is read without _GNU_SOURCE.
#ifndef TANDEM_CLINUX_SHIM_H
#define TANDEM_CLINUX_SHIM_H

// First, so that what both include stays the C library's: else files that import Glibc alone no longer find it.
#pragma clang module import SwiftGlibc

#include <fcntl.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

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

// Both ends are closed in every other program that is started meanwhile.
static inline int tandem_pipe(int *ends) {
    extern int pipe2(int *, int);
    return pipe2(ends, O_CLOEXEC);
}

static inline int tandem_spawn_close_from(posix_spawn_file_actions_t *actions, int first) {
    extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *, int);
    return posix_spawn_file_actions_addclosefrom_np(actions, first);
}

static inline int tandem_pidfd_open(int process) {
    extern int pidfd_open(int, unsigned int);
    return pidfd_open(process, 0);
}

static inline int tandem_pidfd_send_signal(int process, int signal) {
    extern int pidfd_send_signal(int, int, void *, unsigned int);
    return pidfd_send_signal(process, signal, 0, 0);
}

#endif
