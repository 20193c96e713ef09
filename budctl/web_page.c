/* SPDX-License-Identifier: ISC */

/* web.html, as it is: WEB_PAGE is its path. */
#include "budctl/web.h"

__asm__(".section .rodata\n"
	".global web_page, web_page_end\n"
	".hidden web_page, web_page_end\n"
	"web_page:\n"
	".incbin \"" WEB_PAGE "\"\n"
	"web_page_end:\n"
	".byte 0\n"
	".previous\n");
