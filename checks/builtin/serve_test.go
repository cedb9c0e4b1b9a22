package builtin

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// serve listens at an address of "tcp" and hands each connection to f.
func serve(t *testing.T, address string, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
	return l.Addr().String()
}

// mute takes connections and says nothing until the other side closes.
func mute(c net.Conn) { c.Read(make([]byte, 1<<16)); c.Read(make([]byte, 1)) }

// nobody is an address of loopback where nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// check runs a kind once, with a second for what should not take long and a
// generous one for the rest.
func check(t *testing.T, k checks.Kind, target checks.Target) checks.Result {
	t.Helper()
	if target.Timeout == 0 {
		target.Timeout = 20 * time.Second
	}
	c, err := k.Make(target)
	if err != nil {
		t.Fatalf("making a check of %q: %v", target.Address, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), target.Timeout)
	defer cancel()
	r := c.Run(ctx)
	if err := r.Valid(); err != nil {
		t.Errorf("%v: %+v", err, r)
	}
	return r
}

// short is a deadline for targets that never answer.
const short = 300 * time.Millisecond

// expect compares what matters of a result.
func expect(t *testing.T, r checks.Result, v checks.Verdict, reason checks.Reason, phase checks.Phase) {
	t.Helper()
	if r.Verdict != v || r.Reason != reason || r.Phase != phase {
		t.Errorf("got %s, reason %q, phase %q (%s); want %s, %q, %q", r.Verdict, r.Reason, r.Phase, r.Detail, v, reason, phase)
	}
	if v != checks.OK && r.Detail == "" {
		t.Error("without a detail")
	}
}
