// SPDX-License-Identifier: ISC
//
// What budctl web shows in a real browser; web_test.sh runs it. A line for each thing that
// holds, or does not.
//
// usage: web_browser.cjs URL CHROMIUM [SCREENSHOTS]     and on stdin, a word a line, what
// the script has done: "opened" (a client), "stopped" (budd), "started" (budd)
"use strict";
const { chromium } = require("playwright-core");
const readline = require("readline");

const [url, browserPath, screenshots] = process.argv.slice(2);
const words = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
let failed = 0;

function is(what, got, wanted) {
	const same = JSON.stringify(got) === JSON.stringify(wanted);
	console.log(`${same ? "ok" : "not ok"} - ${what}`);
	if (!same) {
		console.log(`#   got ${JSON.stringify(got)}, wanted ${JSON.stringify(wanted)}`);
		failed++;
	}
}

// Tells the script what it is to do, and waits until it has.
async function please(what) {
	console.log(`please ${what}`);
	await words.next();
}

const until = (page, condition, argument) => page.waitForFunction(condition, argument, { timeout: 60000 });

async function main() {
	const browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
	const page = await browser.newPage({ viewport: { width: 1180, height: 1000 } });
	const outside = [], complaints = [];
	let away = false; // budd, and so 502 is no surprise

	page.on("request", (r) => { if (!r.url().startsWith(url)) outside.push(r.url()); });
	page.on("console", (m) => { if (m.type() === "error" && !away && !/404/.test(m.text())) complaints.push(m.text()); });
	page.on("pageerror", (e) => complaints.push(String(e)));
	await page.goto(url);
	await until(page, () => document.getElementById("live").textContent === "live");
	is("no pool is open", await page.isVisible("#none"), true);

	await until(page, () => document.querySelectorAll("#events li").length > 0); // its hello
	await please("open");
	// A growing pool has one that waits too, for a moment: all that fits is in use first.
	await until(page, () => document.querySelectorAll(".pool").length === 1 &&
		document.querySelector(".pool").textContent.includes("4 MiB used, ") &&
		document.getElementById("waiting").textContent === "1");
	is("its name is text", await page.textContent(".pool .name"), "<b>pool");
	is("its command is text", (await page.textContent(".pool .who, .pool .dim")).startsWith("<img>"), true);
	is("... and no markup", await page.$$eval(".pool b, .pool img", (all) => all.length), 0);
	is("its bar is full", await page.$eval(".pool .bar .pinned", (e) => e.style.width), "100%");
	is("who waits is red", await page.$eval("#waiting", (e) => e.classList.contains("alarm")), true);
	is("the title says it", await page.title(), "(1) bud");
	await until(page, () => document.querySelectorAll(".block").length === 4);
	is("each block has its map", await page.$$eval(".block .map", (maps) => maps.map((m) => m.children.length)), [64, 64, 64, 64]);
	is("the queue says why", (await page.textContent(".queue")).startsWith("1 request for 1 MiB waiting"), true);
	await until(page, () => (document.querySelector(".area-pinned").getAttribute("d") || "").length > 40);
	is("the plot has an area that waits", await page.$eval(".area-wait", (e) => e.getAttribute("d").length > 20), true);
	await until(page, () => document.querySelector("#events").textContent.includes("pinned 4 MiB"));
	const grown = page.locator("#events li span", { hasText: "pinned 4 MiB" }).first();
	is("what happened is in words", (await grown.textContent()).replace(/\d+\)/, "PID)"),
		"<b>pool, <img> (PID), reason request, bytes 1 MiB, pinned 4 MiB");
	is("... and its name on one line", await page.$$eval("#events b", (all) => all.every((e) => e.getClientRects().length === 1 &&
		e.clientHeight < 2 * parseFloat(getComputedStyle(e).fontSize))), true);
	if (screenshots)
		for (const colorScheme of ["light", "dark"]) {
			await page.emulateMedia({ colorScheme });
			await page.screenshot({ path: `${screenshots}/${colorScheme}.png` });
		}

	away = true;
	await please("stop");
	await until(page, () => document.getElementById("live").classList.contains("lost"));
	is("a budd that is away is told", await page.textContent("#live"), "budd does not answer");
	await please("start");
	await until(page, () => document.getElementById("live").textContent === "live");
	is("... and its return seen", await page.textContent("#waiting"), "0");

	is("nothing is asked of anybody else", outside, []);
	is("the browser does not complain", complaints, []);
	await browser.close();
}

main().catch((e) => { console.log(`not ok - ${e}`); failed++; }).finally(() => process.exit(failed ? 1 : 0));
