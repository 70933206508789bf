/* Operations with files. They are submitted, refused, cancelled and removed as operations.h says.
 *
 *   COMPLETION_PORT_FILE_READ_OPERATION read = {0};
 *   read.common.size = sizeof(read);
 *   read.common.kind = COMPLETION_PORT_KIND_FILE_READ;
 *   read.common.descriptor = file;
 *   read.common.on_complete = on_read;
 *   read.buffer = bytes;
 *   read.length = sizeof(bytes);
 *   read.offset = 4096;
 *   completion_port_submit(port, &read.common, NULL, NULL);
 * */
#ifndef COMPLETIONPORT_FILES_H
#define COMPLETIONPORT_FILES_H

#include <stdint.h>

#include "completionport/operations.h"

#ifdef __cplusplus
extern "C" {
#endif

struct iovec;

/* COMPLETION_PORT_KIND_SENDFILE: sends a part of a file. Takes its turn among the writes of the
 * socket. OK when all is sent, or the file has ended: value is the bytes sent. The file's position
 * stays. What is not in the page cache is read on the worker.
 * The socket does not block (O_NONBLOCK), and must stay so until the completion; the file must stay
 * open until then.
 * Submission: -EINVAL also for a socket that blocks, what is no file, a length of 0 or above
 * INT32_MAX, and an end beyond INT64_MAX; -EBADF also for a closed file. A directory ends with
 * (ERROR, -EINVAL). [CP-SENDFILE] */
typedef struct COMPLETION_PORT_SENDFILE_OPERATION_TAG {
    COMPLETION_PORT_OPERATION common; /* descriptor: the socket */
    int32_t file;
    uint32_t reserved;
    uint64_t offset; /* bytes from the file's start */
    uint64_t length; /* bytes */
} COMPLETION_PORT_SENDFILE_OPERATION;

/* Reads, writes and syncs of regular files and block devices, at offsets: the file's position
 * neither counts nor moves. A few threads of the port wait for the device (options.h:
 * file_threads). Operations on one file have no order among each other, whoever submits them; only
 * what has completed lies before what is submitted then.
 *
 * An operation that no thread has begun is cut off by cancel, deadline, removal and the port's end
 * as others are. One that a thread has begun ends with its own result, whatever is asked: cancel
 * returns 0 for it, and completion_port_remove outside callbacks waits for it, as on_removed
 * and the port's end do. In a callback, and on a single-threaded port, remove returns at
 * once: the number must then not be closed before the completions came. While a thread waits inside
 * completion_port_remove, submissions on that number get -ECANCELED.
 * A port has its threads when the first such operation was accepted: -EAGAIN where not one can be
 * started. Other errors of a submission: -ESPIPE for a read or write of what is neither regular
 * file nor block device, -EISDIR for a directory. */

/* COMPLETION_PORT_KIND_FILE_READ: either one buffer, or several pieces of memory one after the
 * other; the other form's fields are 0. OK with the bytes that were read: fewer than asked for only
 * where the file ends, 0 at or behind its end. Not OK: value is the bytes before the failure.
 * What is in the page cache may be read at once, on the worker, and by COMPLETION_PORT_FLAG_INLINE.
 * Submission: -EINVAL also for both forms or none, and an end beyond INT64_MAX; else as for
 * receives and COMPLETION_PORT_KIND_RECEIVE_VECTOR (messages.h). [CP-FILE] */
typedef struct COMPLETION_PORT_FILE_READ_OPERATION_TAG {
    COMPLETION_PORT_OPERATION common;
    void* buffer;
    const struct iovec* vectors;
    uint32_t length; /* of the buffer: bytes, 1 to INT32_MAX */
    uint32_t count;  /* of vectors, 1 to COMPLETION_PORT_VECTORS_MAX */
    uint64_t offset; /* bytes from the file's start */
} COMPLETION_PORT_FILE_READ_OPERATION;

/* COMPLETION_PORT_KIND_FILE_WRITE: as a read, the other way. OK when all is written. A file opened
 * with O_APPEND is written at its end, whatever the offset. [CP-FILE] */
typedef struct COMPLETION_PORT_FILE_WRITE_OPERATION_TAG {
    COMPLETION_PORT_OPERATION common;
    const void* buffer;
    const struct iovec* vectors;
    uint32_t length;
    uint32_t count;
    uint64_t offset;
} COMPLETION_PORT_FILE_WRITE_OPERATION;

/* Flags of a sync. */
enum {
    /* As fdatasync(2): not the facts about the file that reading it does not need. */
    COMPLETION_PORT_FILE_SYNC_DATA = 1
};

/* COMPLETION_PORT_KIND_FILE_SYNC: as fsync(2), of directories too. OK, value 0, when all writes
 * that had completed before it was submitted are on the device.
 * Submission: -EINVAL also for other flags and descriptors. [CP-FILE] */
typedef struct COMPLETION_PORT_FILE_SYNC_OPERATION_TAG {
    COMPLETION_PORT_OPERATION common;
    uint32_t sync_flags; /* COMPLETION_PORT_FILE_SYNC_... */
    uint32_t reserved;
} COMPLETION_PORT_FILE_SYNC_OPERATION;

#ifdef __cplusplus
}
#endif

#endif
