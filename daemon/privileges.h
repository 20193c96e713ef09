/* SPDX-License-Identifier: ISC */

/*
 * What budd's processes may do beyond what any process of their user may.
 *
 *	keeper   CAP_IPC_LOCK, if it was started with it; else nothing
 *	arbiter  nothing
 *
 * Neither can gain anything by an exec, and no other process of their user may look into
 * them.
 */
#ifndef DAEMON_PRIVILEGES_H
#define DAEMON_PRIVILEGES_H

#define PRIVILEGES_USER "budd" /* that root becomes */

/** privileges_of_keeper() - become PRIVILEGES_USER if we are root and it exists, and let go
 * of all capabilities but CAP_IPC_LOCK. All that takes root has to be done by now.
 *
 * Return: 0 or a negative errno */
int privileges_of_keeper(void);
/** privileges_hide() - from here on nobody of our user may look into us, or trace us */
int privileges_hide(void);
/** privileges_of_arbiter() - let go of the rest, in a child of the keeper's; 0 or a negative
 * errno */
int privileges_of_arbiter(void);

#endif
