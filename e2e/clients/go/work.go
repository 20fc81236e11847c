package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	keysOfWorker = 32
	pause        = 10 * time.Millisecond
	checkLimit   = 60 * time.Second
)

// tally is what happened to all workers since the last line that was read.
type tally struct {
	mu sync.Mutex
	// clean is how often each got what it asked for since it last did not.
	clean                 []int
	written, twice        int
	longest               time.Duration
	errors                map[string]int
	firstError, lastError time.Time
}

type phaseReport struct {
	Written   int            `json:"written"`
	Errors    map[string]int `json:"errors"`
	ErrorsMs  int64          `json:"errors_ms"`
	Twice     int            `json:"twice"`
	LongestMs int64          `json:"longest_ms"`
	Clean     bool           `json:"clean"`
}

var digits = regexp.MustCompile(`[0-9]+`)

func (t *tally) done(worker int, took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.longest = max(t.longest, took)
	if err == nil {
		t.clean[worker]++
		return
	}
	t.clean[worker] = 0
	text := digits.ReplaceAllString(err.Error(), "N")
	t.errors[text[:min(len(text), 200)]]++
	t.lastError = time.Now()
	if t.firstError.IsZero() {
		t.firstError = t.lastError
	}
}

func (t *tally) acknowledged(twice int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.written++
	t.twice += twice
}

func (t *tally) isClean() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Min(t.clean) >= 3*keysOfWorker
}

// end is what there is to tell once every worker went through all its keys without an error, or
// when there was time enough for it.
func (t *tally) end(limit time.Duration) phaseReport {
	t.mu.Lock()
	clear(t.clean)
	t.mu.Unlock()
	for until := time.Now().Add(limit); !t.isClean() && time.Now().Before(until); {
		time.Sleep(pause)
	}
	clean := t.isClean()
	t.mu.Lock()
	defer t.mu.Unlock()
	report := phaseReport{
		Written: t.written, Errors: t.errors, Twice: t.twice,
		ErrorsMs:  t.lastError.Sub(t.firstError).Milliseconds(),
		LongestMs: t.longest.Milliseconds(), Clean: clean,
	}
	t.written, t.twice, t.longest, t.errors = 0, 0, 0, map[string]int{}
	t.firstError, t.lastError = time.Time{}, time.Time{}
	return report
}

// known is what a worker knows of one key, and of its counter.
type known struct {
	key, counter string
	// what was acknowledged last (0: nothing), and what was tried since without an answer
	last int
	open []int
	// how often it was counted up for sure, and at most
	sure, most int64
}

// worker writes, counts up and reads keys of its own.
type worker struct {
	client  redis.UniversalClient
	number  int
	tally   *tally
	keys    []known
	written int
	wrong   []string
}

// attempt says whether there was an answer.
func (w *worker) attempt(call func(context.Context) error) bool {
	began := time.Now()
	err := call(context.Background())
	w.tally.done(w.number, time.Since(began), err)
	return err == nil
}

func (w *worker) run(stop <-chan struct{}) {
	for turn := 1; ; turn++ {
		select {
		case <-stop:
			return
		case <-time.After(pause):
		}
		k := &w.keys[turn%keysOfWorker]
		w.write(k, turn)
		w.count(k)
		w.read(&w.keys[turn*7%keysOfWorker])
	}
}

func (w *worker) acknowledged(twice int) {
	w.written++
	w.tally.acknowledged(twice)
}

func (w *worker) write(k *known, value int) {
	if !w.attempt(func(ctx context.Context) error { return w.client.Set(ctx, k.key, value, 0).Err() }) {
		k.open = append(k.open, value)
		return
	}
	k.last, k.open = value, nil
	w.acknowledged(0)
}

func (w *worker) count(k *known) {
	k.most++
	var found int64
	good := w.attempt(func(ctx context.Context) (err error) {
		found, err = w.client.Incr(ctx, k.counter).Result()
		return err
	})
	if !good {
		return
	}
	if found <= k.sure {
		w.wrong = append(w.wrong, fmt.Sprintf("%s: %d after %d were acknowledged", k.counter, found, k.sure))
	}
	// More than was asked for: the library sent again what had been done already.
	twice := max(0, found-k.most)
	k.sure, k.most = found, found
	w.acknowledged(int(twice))
}

func get(ctx context.Context, client redis.UniversalClient, key string) (int, error) {
	found, err := client.Get(ctx, key).Int()
	if err == redis.Nil {
		return 0, nil
	}
	return found, err
}

func (w *worker) read(k *known) {
	var found int
	good := w.attempt(func(ctx context.Context) (err error) {
		found, err = get(ctx, w.client, k.key)
		return err
	})
	if good {
		w.check(k, found)
	}
}

func (w *worker) check(k *known, found int) {
	if found != k.last && !slices.Contains(k.open, found) {
		w.wrong = append(w.wrong, fmt.Sprintf("%s: %d, not %d or one of %v", k.key, found, k.last, k.open))
	}
}

// checkAll looks at everything once more, now that nothing happens any more.
func (w *worker) checkAll() {
	for i := range w.keys {
		k := &w.keys[i]
		w.check(k, w.patient(k.key))
		found := int64(w.patient(k.counter))
		if found < k.sure || found > k.most {
			w.wrong = append(w.wrong, fmt.Sprintf("%s: %d, not %d to %d", k.counter, found, k.sure, k.most))
		}
	}
}

func (w *worker) patient(key string) int {
	for until := time.Now().Add(checkLimit); ; {
		found, err := get(context.Background(), w.client, key)
		if err == nil {
			return found
		}
		if time.Now().After(until) {
			fail(fmt.Errorf("%s cannot be read: %w", key, err))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// connectDefault is a client that was told nothing but the address: what the library does
// by itself is what is looked at.
func connectDefault(mode, address string) redis.UniversalClient {
	if mode == "cluster" {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{address}})
	}
	return redis.NewClient(&redis.Options{Addr: address})
}

// work runs until the input ends.
func work(mode, address string, count int, prefix string) {
	client := connectDefault(mode, address)
	defer client.Close()
	tally := &tally{clean: make([]int, count), errors: map[string]int{}}
	stop := make(chan struct{})
	workers := make([]*worker, count)
	var running sync.WaitGroup
	for n := range workers {
		w := &worker{client: client, number: n, tally: tally, keys: make([]known, keysOfWorker)}
		for i := range w.keys {
			key := fmt.Sprintf("%s:%d:%d", prefix, n, i)
			w.keys[i] = known{key: key, counter: key + ":count"}
		}
		workers[n] = w
		running.Go(func() { w.run(stop) })
	}
	output := json.NewEncoder(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		seconds, err := strconv.ParseFloat(lines.Text(), 64)
		if err != nil {
			fail(err)
		}
		if err := output.Encode(tally.end(time.Duration(seconds * float64(time.Second)))); err != nil {
			fail(err)
		}
	}
	close(stop)
	running.Wait()
	result := report{Client: "go-redis", Version: redis.Version(), Mode: mode, Action: "work"}
	for _, w := range workers {
		w.checkAll()
		result.Count += w.written
		if result.Wrong == 0 && len(w.wrong) > 0 {
			result.First = w.wrong[0]
		}
		result.Wrong += len(w.wrong)
	}
	finish(result)
}
