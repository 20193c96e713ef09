/* SPDX-License-Identifier: ISC */

/* Users and capabilities, by libcap-ng. */
#include "daemon/privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <pwd.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "daemon/log.h"

static void
choose_lock(bool may_lock)
{
	capng_clear(CAPNG_SELECT_BOTH);
	if (may_lock)
		capng_update(
		    CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_IPC_LOCK);
}

/* libcap-ng's errors are numbers of its own. */
static int
failed(const char *what, int r)
{
	int error = errno != 0 ? errno : EPERM;

	log_errno("privileges", error, "cannot %s (%d)", what, r);
	return -error;
}

/* Capabilities but the one go on the way. The bounding set can only be emptied by who has
 * CAP_SETPCAP, which root may lack in a container; nothing is executed anyway. */
static int
become(const struct passwd *pw, bool may_lock)
{
	int flags = CAPNG_DROP_SUPP_GRP, r;

	if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		flags |= CAPNG_CLEAR_BOUNDING;
	choose_lock(may_lock);
	errno = 0;
	if ((r = capng_change_id(
		 (int)pw->pw_uid, (int)pw->pw_gid, (capng_flags_t)flags)) != 0)
		return failed("become user " PRIVILEGES_USER, r);
	/* The kernel hides who has changed its user; the keeper opens a file of its own in
	 * /proc first, and hides itself then. */
	prctl(PR_SET_DUMPABLE, 1);
	log_info("privileges", "running as user " PRIVILEGES_USER ", uid %u",
	    (unsigned int)pw->pw_uid);
	return 0;
}

static int
stay(bool may_lock)
{
	capng_select_t which = CAPNG_SELECT_CAPS;
	int r;

	if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		which = CAPNG_SELECT_BOTH;
	choose_lock(may_lock);
	errno = 0;
	if ((r = capng_apply(which)) != 0)
		return failed("let go of capabilities", r);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return 0;
}

int
privileges_of_keeper(void)
{
	/* Asked in any case: it loads what looks names up, and later nothing is loaded. */
	const struct passwd *pw = getpwnam(PRIVILEGES_USER);
	bool may_lock;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		return failed("set no_new_privs", 0);
	capng_get_caps_process();
	may_lock = capng_have_capability(CAPNG_EFFECTIVE, CAP_IPC_LOCK);
	if (geteuid() == 0 && pw != NULL && pw->pw_uid != 0)
		return become(pw, may_lock);
	if (geteuid() == 0)
		log_warn("privileges",
		    "running as root, though with CAP_IPC_LOCK alone: there is no user "
		    "\"" PRIVILEGES_USER
		    "\" to become; create it (systemd-sysusers, or "
		    "useradd -r " PRIVILEGES_USER ")");
	return stay(may_lock);
}

int
privileges_hide(void)
{
	return prctl(PR_SET_DUMPABLE, 0) == 0 ? 0 : -errno;
}

int
privileges_of_arbiter(void)
{
	int r;

	choose_lock(false);
	errno = 0;
	if ((r = capng_apply(CAPNG_SELECT_CAPS)) != 0)
		return failed("let go of capabilities", r);
	return privileges_hide();
}
