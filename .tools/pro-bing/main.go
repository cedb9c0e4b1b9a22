// Command pro-bing asks each address of its arguments once a second by the
// module of that name, as smokeping_prober and telegraf do, and writes a line for
// each answer: address, number, nanoseconds. Benches compare with it.
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	probing "github.com/prometheus-community/pro-bing"
)

func main() {
	out := bufio.NewWriter(os.Stdout)
	var mu sync.Mutex
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	for _, address := range os.Args[1:] {
		p := probing.New(address)
		p.Interval = time.Second
		p.RecordRtts = false
		p.OnRecv = func(r *probing.Packet) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintln(out, address, r.Seq, r.Rtt.Nanoseconds())
		}
		go func() {
			if err := p.Run(); err != nil {
				fmt.Fprintln(os.Stderr, address, err)
				os.Exit(1)
			}
		}()
		time.Sleep(time.Second / time.Duration(len(os.Args)-1))
	}
	<-stop
	mu.Lock()
	out.Flush()
}
