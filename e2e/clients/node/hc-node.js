#!/usr/bin/env node
// Works with ioredis until its input ends (see ../README.md).
'use strict';

const readline = require('node:readline');
const Redis = require('ioredis');
const { version } = require('ioredis/package.json');

const KEYS = 32;
const PAUSE_MS = 10;
const CHECK_MS = 60_000;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** What happened to all workers since the last line that was read. */
class Tally {
  constructor(workers) {
    // How often each got what it asked for since it last did not.
    this.clean = new Array(workers).fill(0);
    this.begin();
  }

  begin() {
    Object.assign(this, { written: 0, twice: 0, longestMs: 0, errors: {}, firstMs: 0, lastMs: 0 });
  }

  done(worker, tookMs, error) {
    this.longestMs = Math.max(this.longestMs, Math.round(tookMs));
    if (!error) {
      this.clean[worker] += 1;
      return;
    }
    this.clean[worker] = 0;
    const text = `${error.name}: ${error.message}`.replace(/\d+/g, 'N').slice(0, 200);
    this.errors[text] = (this.errors[text] || 0) + 1;
    this.lastMs = performance.now();
    this.firstMs ||= this.lastMs;
  }

  acknowledged(twice = 0) {
    this.written += 1;
    this.twice += twice;
  }

  isClean() {
    return Math.min(...this.clean) >= 3 * KEYS;
  }

  /**
   * What there is to tell once every worker went through all its keys without an error, or when there
   * was time enough for it.
   */
  async end(limitMs) {
    this.clean.fill(0);
    for (const until = performance.now() + limitMs; !this.isClean() && performance.now() < until; ) {
      await sleep(PAUSE_MS);
    }
    const report = {
      written: this.written,
      errors: this.errors,
      errors_ms: Math.round(this.lastMs - this.firstMs),
      twice: this.twice,
      longest_ms: this.longestMs,
      clean: this.isClean(),
    };
    this.begin();
    return report;
  }
}

/** Writes, counts up and reads keys of its own. */
class Worker {
  constructor(client, prefix, number, tally) {
    Object.assign(this, { client, number, tally, written: 0, wrong: [] });
    this.keys = Array.from({ length: KEYS }, (_, i) => ({
      key: `${prefix}:${number}:${i}`,
      counter: `${prefix}:${number}:${i}:count`,
      // What was acknowledged last, and what was tried since without an answer.
      last: null,
      open: [],
      // How often it was counted up for sure, and at most.
      sure: 0,
      most: 0,
    }));
  }

  /** Whether there was an answer, and the answer. */
  async attempt(call) {
    const began = performance.now();
    let answer;
    let error;
    try {
      answer = await call();
    } catch (caught) {
      error = caught;
    }
    this.tally.done(this.number, performance.now() - began, error);
    return [!error, answer];
  }

  async run(isStopped) {
    for (let turn = 1; !isStopped(); turn += 1) {
      const key = this.keys[turn % KEYS];
      await this.write(key, turn);
      await this.count(key);
      await this.read(this.keys[(turn * 7) % KEYS]);
      await sleep(PAUSE_MS);
    }
  }

  acknowledged(twice) {
    this.written += 1;
    this.tally.acknowledged(twice);
  }

  async write(key, value) {
    const [good] = await this.attempt(() => this.client.set(key.key, value));
    if (!good) {
      key.open.push(value);
      return;
    }
    Object.assign(key, { last: value, open: [] });
    this.acknowledged();
  }

  async count(key) {
    key.most += 1;
    const [good, found] = await this.attempt(() => this.client.incr(key.counter));
    if (!good) return;
    if (found <= key.sure) {
      this.wrong.push(`${key.counter}: ${found} after ${key.sure} were acknowledged`);
    }
    // More than was asked for: the library sent again what had been done already.
    const twice = Math.max(0, found - key.most);
    Object.assign(key, { sure: found, most: found });
    this.acknowledged(twice);
  }

  async read(key) {
    const [good, found] = await this.attempt(() => this.client.get(key.key));
    if (good) this.check(key, found);
  }

  check(key, text) {
    const found = text === null ? null : Number(text);
    if (found !== key.last && !key.open.includes(found)) {
      this.wrong.push(`${key.key}: ${found}, not ${key.last} or one of ${key.open}`);
    }
  }

  /** Everything once more, now that nothing happens any more. */
  async checkAll() {
    for (const key of this.keys) {
      this.check(key, await this.patient(key.key));
      const found = Number((await this.patient(key.counter)) || 0);
      if (found < key.sure || found > key.most) {
        this.wrong.push(`${key.counter}: ${found}, not ${key.sure} to ${key.most}`);
      }
    }
  }

  async patient(key) {
    for (const until = performance.now() + CHECK_MS; ; ) {
      try {
        return await this.client.get(key);
      } catch (error) {
        if (performance.now() > until) throw error;
        await sleep(100);
      }
    }
  }
}

/** Told nothing but the address: what the library does by itself is what is looked at. */
function connect(mode, host, port) {
  const client = mode === 'cluster' ? new Redis.Cluster([{ host, port }]) : new Redis({ host, port });
  // Commands tell what failed; these events would end the program.
  client.on('error', () => {});
  return client;
}

async function main([mode, action, address, count, prefix]) {
  if (!['plain', 'cluster'].includes(mode) || action !== 'work' || !prefix || !(Number(count) > 0)) {
    console.error('usage: hc-node plain|cluster work HOST:PORT COUNT PREFIX');
    return 2;
  }
  const colon = address.lastIndexOf(':');
  const client = connect(mode, address.slice(0, colon), Number(address.slice(colon + 1)));
  const tally = new Tally(Number(count));
  const workers = tally.clean.map((_, number) => new Worker(client, prefix, number, tally));
  let stopped = false;
  const running = Promise.all(workers.map((worker) => worker.run(() => stopped)));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await tally.end(Number(line) * 1000)));
  }
  stopped = true;
  await running;
  await Promise.all(workers.map((worker) => worker.checkAll()));
  const wrong = workers.flatMap((worker) => worker.wrong);
  const written = workers.reduce((sum, worker) => sum + worker.written, 0);
  const report = { client: 'ioredis', version, mode, action, count: written, wrong: wrong.length };
  if (wrong.length > 0) report.first = wrong[0];
  console.log(JSON.stringify(report));
  client.disconnect();
  return wrong.length > 0 ? 1 : 0;
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error) => {
    console.error('hc-node:', error);
    process.exitCode = 1;
  },
);
