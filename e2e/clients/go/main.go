// hc-go writes, reads back and deletes numbered keys with go-redis, or works until
// it is stopped (see ../README.md).
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	batch    = 200
	deadline = 20 * time.Second
)

type report struct {
	Client  string `json:"client"`
	Version string `json:"version,omitempty"`
	Mode    string `json:"mode"`
	Action  string `json:"action"`
	Count   int    `json:"count"`
	Wrong   int    `json:"wrong"`
	First   string `json:"first,omitempty"`
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: hc-go plain|cluster fill|check|wipe|work HOST:PORT COUNT PREFIX")
	os.Exit(2)
}

func main() {
	if len(os.Args) != 6 {
		usage()
	}
	mode, action, address, prefix := os.Args[1], os.Args[2], os.Args[3], os.Args[5]
	count, err := strconv.Atoi(os.Args[4])
	if err != nil || count < 0 {
		usage()
	}
	if action == "work" {
		work(mode, address, count, prefix)
		return
	}
	client := connect(mode, address)
	defer client.Close()
	result := report{Client: "go-redis", Mode: mode, Action: action, Count: count}
	for first := 0; first < count; first += batch {
		wrong, err := run(client, action, prefix, first, min(first+batch, count))
		if err != nil {
			fail(err)
		}
		if len(wrong) > 0 && result.Wrong == 0 {
			result.First = wrong[0]
		}
		result.Wrong += len(wrong)
	}
	finish(result)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "hc-go:", err)
	os.Exit(1)
}

// finish prints the last line, and ends with an error if anything was wrong.
func finish(result report) {
	line, err := json.Marshal(result)
	if err != nil {
		fail(err)
	}
	fmt.Println(string(line))
	if result.Wrong > 0 {
		os.Exit(1)
	}
}

func connect(mode, address string) redis.UniversalClient {
	switch mode {
	case "plain":
		return redis.NewClient(&redis.Options{
			Addr: address, DialTimeout: deadline, ReadTimeout: deadline, WriteTimeout: deadline,
		})
	case "cluster":
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: []string{address}, DialTimeout: deadline, ReadTimeout: deadline, WriteTimeout: deadline,
		})
	}
	usage()
	return nil
}

func key(prefix string, number int) string {
	return fmt.Sprintf("%s:%d", prefix, number)
}

// value is no text, so that nothing on the way may treat it as such.
func value(prefix string, number int) string {
	return fmt.Sprintf("%s|%d\r\n", prefix, number) + string([]byte{0, 255, byte(number % 256)})
}

// run does one batch in one pipeline and returns the keys that went wrong.
func run(client redis.UniversalClient, action, prefix string, first, end int) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	pipe := client.Pipeline()
	right := make([]func() bool, 0, end-first)
	for number := first; number < end; number++ {
		switch action {
		case "fill":
			reply := pipe.Set(ctx, key(prefix, number), value(prefix, number), 0)
			right = append(right, func() bool { return reply.Val() == "OK" })
		case "check":
			reply := pipe.Get(ctx, key(prefix, number))
			want := value(prefix, number)
			right = append(right, func() bool { return reply.Val() == want })
		case "wipe":
			reply := pipe.Del(ctx, key(prefix, number))
			right = append(right, func() bool { return reply.Val() == 1 })
		default:
			usage()
		}
	}
	if _, err := pipe.Exec(ctx); err != nil && err != redis.Nil {
		return nil, err
	}
	var wrong []string
	for index, ok := range right {
		if !ok() {
			wrong = append(wrong, key(prefix, first+index))
		}
	}
	return wrong, nil
}
