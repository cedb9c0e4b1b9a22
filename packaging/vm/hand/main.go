// Command hand is our hand inside the test machine: it runs what comes in on a
// virtio serial port, and answers with what came out. It also plays a service
// at the far end of a tunnel (hand listen ADDRESS), a provider's router that
// advertises itself (hand advertise LINK PREFIX), and somebody who sets the clock
// (hand shake DURATION TIMES).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// port is named in the machine's command line.
const port = "/dev/virtio-ports/ginnel"

// request is a script for sh; seconds bound it.
type request struct {
	ID      int    `json:"id"`
	Script  string `json:"script"`
	Seconds int    `json:"seconds"`
}

// reply is what came out. A reply with ID 0 says hello: Out is the boot's name.
type reply struct {
	ID   int    `json:"id"`
	Out  string `json:"out"`
	Code int    `json:"code"`
}

func main() {
	err := errors.New("usage: hand serve | hand listen ADDRESS | hand advertise LINK PREFIX | hand shake DURATION TIMES")
	switch {
	case len(os.Args) == 2 && os.Args[1] == "serve":
		err = serve()
	case len(os.Args) == 3 && os.Args[1] == "listen":
		err = listen(os.Args[2])
	case len(os.Args) == 4 && os.Args[1] == "advertise":
		err = advertise(os.Args[2], os.Args[3])
	case len(os.Args) == 4 && os.Args[1] == "shake":
		err = shake(os.Args[2], os.Args[3])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hand:", err)
		os.Exit(1)
	}
}

func serve() error {
	f, err := os.OpenFile(port, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	var mu sync.Mutex
	enc := json.NewEncoder(f)
	answer := func(r reply) {
		mu.Lock()
		defer mu.Unlock()
		if err := enc.Encode(r); err != nil {
			fmt.Fprintln(os.Stderr, "hand:", err)
		}
	}
	answer(reply{Out: strings.TrimSpace(string(boot))})
	dec := json.NewDecoder(patient{f})
	for {
		var r request
		if err := dec.Decode(&r); err != nil {
			return err
		}
		go func() { answer(run(r)) }()
	}
}

// patient waits where a port without a listener reads as ended.
type patient struct{ f *os.File }

func (p patient) Read(buf []byte) (int, error) {
	for {
		n, err := p.f.Read(buf)
		if n > 0 || !errors.Is(err, io.EOF) {
			return n, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func run(r request) reply {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.Seconds)*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", r.Script)
	cmd.WaitDelay = time.Second // what it left behind may hold the pipe
	out, err := cmd.CombinedOutput()
	code := 0
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		out, code = fmt.Appendf(out, "\nhand: ended after %d s\n", r.Seconds), 124
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		out, code = fmt.Appendf(out, "\nhand: %v\n", err), 126
	}
	return reply{ID: r.ID, Out: string(out), Code: code}
}

// listen accepts connections and lets each go at once.
func listen(address string) error {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		conn.Close()
	}
}
