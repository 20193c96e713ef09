/* SPDX-License-Identifier: ISC */

/* The files below one directory, and no way out of it. */
#ifndef EXAMPLES_HTTPD_FILE_H
#define EXAMPLES_HTTPD_FILE_H

#include <stdint.h>
#include <time.h>

#define HTTPD_INDEX "index.html"

struct httpd_file {
	int fd; /* the caller's, to close */
	uint64_t size;
	time_t modified;
	const char *type; /* for Content-Type */
};

/**
 * httpd_file_root() - open the directory that is served
 * @rootp:	receives its descriptor; written on success only
 *
 * Return: 0; -ENOSYS where the kernel has no openat2() (before Linux 5.6), or hides it;
 * or another negative errno
 */
int httpd_file_root(const char *dir, int *rootp);

/**
 * httpd_file_open() - open a regular file below the root, or a directory's index
 * @path:	relative to @root; symbolic links may lead anywhere below it
 * @file:	written on success only
 *
 * Return: 0, or a status code: 403, 404, 500, 503
 */
int httpd_file_open(int root, const char *path, struct httpd_file *file);

/**
 * httpd_file_read() - read exactly @len bytes
 *
 * Return: 0; -ENODATA if the file has become shorter; or another negative errno
 */
int httpd_file_read(int fd, void *buf, size_t len, uint64_t offset);

#endif
