/* SPDX-License-Identifier: ISC */

/*
 * budctl top: the screen, the keys and the clock.
 *
 * Signals that end the program end the loop; then the terminal is as it was before, and the
 * signal does what it would have done. curses has SIGTSTP and SIGWINCH.
 */
#include <err.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "budctl/fields.h"
#include "budctl/find.h"
#include "budctl/http.h"
#include "budctl/terminal.h"
#include "budctl/top.h"
#include "daemon/config_value.h"

#include <curses.h> /* last: it has macros of many names */

#define DEFAULT_COLUMNS 80u
#define COLUMNS_MAX     1000u
#define INTERVAL_MS     1000
#define PAGE            10u

struct top {
	const struct options *options;
	struct top_model model;
	int interval_ms;
	bool helps; /* the keys are shown instead */
	bool ends;
};

/* --- Signals --- */

static volatile sig_atomic_t caught;

static void
on_signal(int number)
{
	caught = number;
}

static const int deadly[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

static void
catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		sigaction(deadly[i], &action, NULL);
}

static void
die_of_what_was_caught(void)
{
	if (caught == 0)
		return;
	signal(caught, SIG_DFL);
	raise(caught);
}

/* --- The screen --- */

static attr_t
attributes(enum frame_look look)
{
	switch (look) {
	case LOOK_PLAIN:
		break;
	case LOOK_BOLD:
		return A_BOLD;
	case LOOK_DIM:
		return A_DIM;
	case LOOK_USED:
	case LOOK_PINNED:
		return terminal_has_colours() ? COLOR_PAIR(look) : A_NORMAL;
	case LOOK_ALARM:
		return A_BOLD | (terminal_has_colours() ? COLOR_PAIR(look) : A_NORMAL);
	}
	return A_NORMAL;
}

static void
begin_colours(void)
{
	if (!terminal_has_colours() || !has_colors())
		return;
	start_color();
	use_default_colors();
	init_pair(LOOK_USED, COLOR_GREEN, -1);
	init_pair(LOOK_PINNED, COLOR_CYAN, -1);
	init_pair(LOOK_ALARM, COLOR_RED, -1);
}

static void
show_row(const struct frame *f, unsigned int row)
{
	attr_t mark = row == f->marked ? A_REVERSE : A_NORMAL;

	move((int)row, 0);
	for (unsigned int i = 0; i < f->columns; i++) {
		const struct frame_cell *cell = &f->cells[(size_t)row * f->columns + i];
		wchar_t text[2] = { cell->c, L'\0' };

		if (cell->c == 0)
			continue;
		attrset((int)(attributes(cell->look) | mark));
		addnwstr(text, 1);
	}
}

static void
show(struct top *t)
{
	struct frame f;

	frame_init(&f, (unsigned int)LINES, (unsigned int)COLS);
	if (t->helps)
		top_view_help(&f);
	else
		top_view_draw(&f, &t->model, true);
	for (unsigned int row = 0; row < f.rows; row++)
		show_row(&f, row);
	frame_fini(&f);
	refresh();
}

/* --- Keys --- */

static void
choose(struct top *t, unsigned int index)
{
	top_model_choose(&t->model, index);
	top_model_load_detail(&t->model, t->options->socket);
}

static unsigned int
up(const struct top *t, unsigned int by)
{
	return t->model.chosen > by ? t->model.chosen - by : 0;
}

static void
on_key(struct top *t, int key)
{
	struct top_model *m = &t->model;

	if (t->helps && key != 'q' && key != KEY_RESIZE) {
		t->helps = false;
		return;
	}
	switch (key) {
	case 'q':
		t->ends = true;
		break;
	case KEY_UP:
	case 'k':
		choose(t, up(t, 1));
		break;
	case KEY_DOWN:
	case 'j':
		choose(t, m->chosen + 1);
		break;
	case KEY_PPAGE:
		choose(t, up(t, PAGE));
		break;
	case KEY_NPAGE:
		choose(t, m->chosen + PAGE);
		break;
	case KEY_HOME:
		choose(t, 0);
		break;
	case KEY_END:
		choose(t, UINT_MAX);
		break;
	case 's':
		m->sort = (enum top_sort)((m->sort + 1) % TOP_SORTS);
		top_model_sort(m);
		break;
	case 'r':
		m->reverse = !m->reverse;
		top_model_sort(m);
		break;
	case ' ':
		top_model_load(m, t->options->socket);
		break;
	case 'h':
	case '?':
		t->helps = true;
		break;
	case '\f':
		clearok(stdscr, TRUE);
		break;
	default:
		break; /* KEY_RESIZE is one of them: the next frame has the new size */
	}
}

/* --- The loop --- */

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Until a key, a signal, or @due. */
static void
wait_for_keys(struct top *t, int64_t due)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	int64_t left = due - now_ms();
	int key;

	if (poll(&in, 1, left > 0 ? (int)left : 0) == 1 &&
	    (in.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0)
		t->ends = true; /* the terminal is gone */
	while ((key = getch()) != ERR)
		on_key(t, key);
}

static void
run(struct top *t)
{
	int64_t due;

	while (!t->ends && caught == 0) {
		due = now_ms() + t->interval_ms;
		do {
			show(t);
			wait_for_keys(t, due);
		} while (!t->ends && caught == 0 && now_ms() < due);
		if (!t->ends && caught == 0)
			top_model_load(&t->model, t->options->socket);
	}
}

/* One that can place text. False: after a line that says so. */
static bool
begin_screen(void)
{
	const char *term = getenv("TERM"), *place;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
		warnx("top needs a terminal; try budctl top --once");
		return false;
	}
	if (newterm(NULL, stdout, stdin) == NULL || (place = tigetstr("cup")) == NULL ||
	    place == (char *)-1) {
		warnx("top cannot place text on this terminal (TERM is %s); try budctl "
		      "top "
		      "--once",
		    term != NULL ? term : "not set");
		return false;
	}
	catch_signals(); /* curses has taken some */
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	curs_set(0);
	begin_colours();
	return true;
}

static enum budctl_exit
on_screen(struct top *t)
{
	if (!begin_screen())
		return BUDCTL_FAILED;
	run(t);
	endwin();
	die_of_what_was_caught();
	return BUDCTL_OK;
}

/* --- Once, as text --- */

static unsigned int
text_columns(void)
{
	const char *wanted = getenv("COLUMNS"), *error = "";
	struct winsize size;
	long long n = 0;

	if (wanted != NULL)
		n = strtonum(wanted, 1, COLUMNS_MAX, &error);
	if (error == NULL)
		return (unsigned int)n;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	return DEFAULT_COLUMNS;
}

static enum budctl_exit
as_text(struct top *t)
{
	struct frame f;

	frame_init(&f, top_view_rows(&t->model), text_columns());
	top_view_draw(&f, &t->model, false);
	frame_print(&f);
	frame_fini(&f);
	return BUDCTL_OK;
}

/* --- The command --- */

static bool
parse(struct top *t)
{
	const struct options *o = t->options;
	int64_t ns = 0;

	if (o->sort != NULL && !top_sort_find(o->sort, &t->model.sort)) {
		warnx("--sort is one of waiting, pinned, used, wall, name, id; try "
		      "budctl "
		      "--help");
		return false;
	}
	if (o->interval == NULL)
		return true;
	if (config_parse_time(o->interval, &ns) != 0 || ns < 100 * CONFIG_MS ||
	    ns > 3600 * 1000 * CONFIG_MS) {
		warnx("--interval is a time from 100ms to 3600s; try budctl --help");
		return false;
	}
	t->interval_ms = (int)(ns / CONFIG_MS);
	return true;
}

/* The first look tells what is wrong; after that, top goes on trying. */
static enum budctl_exit
first_look(struct top *t, const char *word)
{
	enum budctl_exit code;
	cJSON *json;

	if (word != NULL &&
	    (code = find_id(t->options->socket, word, &t->model.id)) != BUDCTL_OK)
		return code;
	if ((code = http_get(t->options->socket, "/", &json)) != BUDCTL_OK)
		return code;
	cJSON_Delete(json);
	return top_model_load(&t->model, t->options->socket);
}

enum budctl_exit
top_command(const struct options *o, char *const args[])
{
	struct top t = { .options = o, .interval_ms = INTERVAL_MS };
	enum budctl_exit code;

	if (!parse(&t))
		return BUDCTL_USAGE;
	code = first_look(&t, args[0]);
	if (code == BUDCTL_OK && o->json)
		fields_print(t.model.status);
	else if (code == BUDCTL_OK)
		code = o->once ? as_text(&t) : on_screen(&t);
	top_model_fini(&t.model);
	return code;
}
