/* SPDX-License-Identifier: ISC */

/*
 * A fuzzer's entry point without libFuzzer, for every run of the suites: the corpus, and
 * then what random changes make of it, for BUD_FUZZ seconds (1). It sees no coverage; for
 * that there is tests/fuzz.sh. A crash leaves its input in NAME.crash.
 *
 * usage: fuzz_NAME [FILE...]	(default: the files of tests/corpus/NAME)
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FILES_MAX 256
#define INPUT_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	uint8_t bytes[INPUT_MAX];
	size_t size;
};

static struct input seeds[FILES_MAX], current;
static size_t nseeds;
static char crash[256];

static double
now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
on_crash(int signal_number)
{
	int fd = open(crash, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd != -1 && write(fd, current.bytes, current.size) != -1)
		close(fd);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

static void
add_file(const char *path)
{
	FILE *f = fopen(path, "re");

	if (f == NULL || nseeds == FILES_MAX)
		err(EXIT_FAILURE, "%s", path);
	seeds[nseeds].size = fread(seeds[nseeds].bytes, 1, INPUT_MAX, f);
	nseeds++;
	fclose(f);
}

static void
add_corpus(const char *name)
{
	const char *top = getenv("BUD_SOURCE");
	const struct dirent *e;
	char dir[512], path[1024];
	DIR *d;

	snprintf(dir, sizeof(dir), "%s/tests/corpus/%s", top != NULL ? top : ".", name);
	if ((d = opendir(dir)) == NULL)
		err(EXIT_FAILURE, "%s (BUD_SOURCE names the source)", dir);
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		add_file(path);
	}
	closedir(d);
}

static void
run(void)
{
	LLVMFuzzerTestOneInput(current.bytes, current.size);
}

static size_t
below(size_t n)
{
	return (size_t)random() % n;
}

/* One change: a bit, a byte, a byte that is often at an edge, a piece that moves, or the
 * length. */
static void
change(struct input *in)
{
	static const uint8_t edges[] = { 0, 1, 0x7f, 0x80, 0xff, '\n', '"', '{' };
	size_t at = in->size > 0 ? below(in->size) : 0, n;

	switch (below(6)) {
	case 0:
		in->bytes[at] ^= (uint8_t)(1u << below(8));
		break;
	case 1:
		in->bytes[at] = (uint8_t)random();
		break;
	case 2:
		in->bytes[at] = edges[below(sizeof(edges))];
		break;
	case 3:
		n = below(INPUT_MAX - at < 64 ? INPUT_MAX - at : 64);
		memmove(in->bytes + at, in->bytes + below(INPUT_MAX - n + 1), n);
		in->size = in->size < at + n ? at + n : in->size;
		break;
	case 4:
		in->size = at;
		break;
	default:
		n = below(32);
		for (size_t i = 0; i < n && in->size < INPUT_MAX; i++)
			in->bytes[in->size++] = (uint8_t)random();
		break;
	}
}

static unsigned long
run_changed(double seconds)
{
	double until = now_s() + seconds;
	unsigned long n = 0;

	for (; now_s() < until; n++) {
		current = seeds[below(nseeds)];
		for (size_t k = 1 + below(8); k > 0; k--)
			change(&current);
		run();
	}
	return n;
}

int
main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/'), *text = getenv("BUD_FUZZ");
	unsigned int seed = (unsigned int)time(NULL) ^ (unsigned int)getpid();
	unsigned long n;

	name = name != NULL ? name + 1 : argv[0];
	name = strncmp(name, "lt-", 3) == 0 ? name + 3 : name;
	snprintf(crash, sizeof(crash), "%s.crash", name);
	for (int i = 1; i < argc; i++)
		add_file(argv[i]);
	if (argc == 1)
		add_corpus(strncmp(name, "fuzz_", 5) == 0 ? name + 5 : name);
	if (nseeds == 0)
		errx(EXIT_FAILURE, "no input");
	printf("%s: %zu files, seed %u\n", name, nseeds, seed);
	fflush(stdout);
	srandom(seed);
	signal(SIGABRT, on_crash);
	signal(SIGSEGV, on_crash);
	for (size_t i = 0; i < nseeds; i++) {
		current = seeds[i];
		run();
	}
	n = argc > 1 ? 0 : run_changed(text != NULL ? strtod(text, NULL) : 1);
	printf("%lu inputs made of them\n1 passed, 0 failed, 0 skipped\n", n);
	return EXIT_SUCCESS;
}
