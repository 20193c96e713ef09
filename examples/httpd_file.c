/* SPDX-License-Identifier: ISC */

/*
 * Files below the root.
 *
 * The kernel does the walking: openat2() with RESOLVE_BENEATH refuses every step that
 * would leave the directory, be it "..", an absolute link or a rename at the wrong
 * moment. Looking at the path ourselves could do none of that reliably, so without
 * openat2() we do not serve at all.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "examples/httpd_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A rename in the tree during the walk makes the kernel say EAGAIN: it could not tell. */
#define WALKS_MAX 16

static int
open_beneath(int root, const char *path, uint64_t flags)
{
	struct open_how how = { .flags = flags | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	int i;
	long fd = -1;

	for (i = 0; i < WALKS_MAX; i++) {
		fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
		if (fd != -1 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return fd != -1 ? (int)fd : -errno;
}

int
httpd_file_root(const char *dir, int *rootp)
{
	int root, probe;

	root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root == -1)
		return -errno;
	probe = open_beneath(root, ".", O_PATH | O_DIRECTORY);
	if (probe < 0) {
		close(root);
		/* Sandboxes that do not know the call say EPERM. */
		return probe == -EPERM ? -ENOSYS : probe;
	}
	close(probe);
	*rootp = root;
	return 0;
}

static const char *
file_type(const char *path)
{
	static const struct {
		const char *extension, *type;
	} types[] = {
		{ "html", "text/html; charset=utf-8" },
		{ "htm", "text/html; charset=utf-8" },
		{ "txt", "text/plain; charset=utf-8" },
		{ "md", "text/markdown; charset=utf-8" },
		{ "css", "text/css; charset=utf-8" },
		{ "csv", "text/csv; charset=utf-8" },
		{ "js", "text/javascript; charset=utf-8" },
		{ "json", "application/json" },
		{ "xml", "application/xml" },
		{ "pdf", "application/pdf" },
		{ "wasm", "application/wasm" },
		{ "gz", "application/gzip" },
		{ "xz", "application/x-xz" },
		{ "zip", "application/zip" },
		{ "tar", "application/x-tar" },
		{ "png", "image/png" },
		{ "jpg", "image/jpeg" },
		{ "jpeg", "image/jpeg" },
		{ "gif", "image/gif" },
		{ "svg", "image/svg+xml" },
		{ "webp", "image/webp" },
		{ "ico", "image/x-icon" },
		{ "mp3", "audio/mpeg" },
		{ "ogg", "audio/ogg" },
		{ "mp4", "video/mp4" },
		{ "webm", "video/webm" },
	};
	const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
	size_t i;

	if (dot != NULL && (slash == NULL || dot > slash))
		for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
			if (strcasecmp(dot + 1, types[i].extension) == 0)
				return types[i].type;
	return "application/octet-stream";
}

static int
status_of(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
	case ENAMETOOLONG:
		return 404;
	case EACCES:
	case EPERM:
	case EXDEV: /* it would have left the root */
	case ELOOP:
	case ENXIO: /* a socket */
	case ENODEV:
		return 403;
	case EAGAIN:
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		return 503;
	}
	return 500;
}

/* Without O_NONBLOCK a FIFO would stop the whole server here. */
static int
open_and_stat(int root, const char *path, int *fdp, struct stat *st)
{
	int fd = open_beneath(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return status_of(-fd);
	if (fstat(fd, st) == -1) {
		close(fd);
		return 500;
	}
	*fdp = fd;
	return 0;
}

int
httpd_file_open(int root, const char *path, struct httpd_file *file)
{
	char index[PATH_MAX];
	struct stat st;
	int fd, status;

	if ((status = open_and_stat(root, path, &fd, &st)) != 0)
		return status;
	if (S_ISDIR(st.st_mode)) {
		close(fd);
		if ((size_t)snprintf(index, sizeof(index), "%s/" HTTPD_INDEX, path) >=
		    sizeof(index))
			return 404;
		path = index;
		status = open_and_stat(root, path, &fd, &st);
		if (status != 0) /* the directory is there; we list none */
			return status == 404 ? 403 : status;
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return 403;
	}
	*file = (struct httpd_file){ .fd = fd,
		.size = (uint64_t)st.st_size,
		.modified = st.st_mtime,
		.type = file_type(path) };
	return 0;
}

int
httpd_file_read(int fd, void *buf, size_t len, uint64_t offset)
{
	char *to = buf;
	ssize_t n;

	while (len > 0) {
		n = pread(fd, to, len, (off_t)offset);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -errno;
		if (n == 0)
			return -ENODATA;
		to += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}
