package trust_test

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/config/bundle/bundletest"
	"github.com/ginnel/ginnel/agent/trust"
)

// kills is how often the child is killed.
const kills = 25

// TestKilled kills a gateway while it accepts configs and takes lists, again
// and again: what it said that it believes, it believes after that, and its file
// is whole.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("TRUST_TEST_DIR"); dir != "" {
		child(dir)
		return
	}
	alice, bob := bundletest.New("alice"), bundletest.New("bob")
	dir := t.TempDir()
	generation := 0
	for range kills {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "TRUST_TEST_DIR="+dir, "TRUST_TEST_SIGNERS="+alice.Line()+"\n"+bob.Line())
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := make(chan uint64)
		var speaks atomic.Bool
		go func() {
			var last uint64
			for lines := bufio.NewScanner(out); lines.Scan(); speaks.Store(true) {
				if n, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil {
					last = n
				}
			}
			said <- last
		}()
		// It lives for a while after its first word, which a busy machine may delay.
		for begun, end := time.Now(), (time.Time{}); end.IsZero() || time.Now().Before(end); {
			if speaks.Load() && end.IsZero() {
				end = time.Now().Add(10 * time.Millisecond)
			}
			if time.Since(begun) > time.Minute {
				t.Fatal("it says nothing")
			}
			generation++
			send := func(namespace, text string) {
				fmt.Fprintf(in, "%s %s\n", namespace, base64.StdEncoding.EncodeToString(sign(text, namespace, alice)))
			}
			send(bundle.List, list(generation, "# "+strings.Repeat("y", 9000)+"\n"))
			send(bundle.Config, text(generation, strings.Repeat("x", 3000), alice, bob))
		}
		cmd.Process.Kill()
		last := <-said
		cmd.Wait() // it was killed, and says so
		tr := open(t, dir, alice, bob)
		if tr.Mark() < last || tr.Mark() > uint64(generation) || tr.List().Serial() < last {
			t.Fatalf("it believed generation %d; now it is %d, list %d", last, tr.Mark(), tr.List().Serial())
		}
		generation = int(max(tr.Mark(), tr.List().Serial()))
	}
	if generation < kills {
		t.Errorf("only %d generations in %d lives", generation, kills)
	}
}

// child believes what it reads, and says which generation it accepted.
func child(dir string) {
	tr, err := trust.Open(dir, strings.Split(os.Getenv("TRUST_TEST_SIGNERS"), "\n"))
	if err != nil {
		panic(err)
	}
	for lines := bufio.NewReader(os.Stdin); ; {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return
		}
		namespace, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		raw, _ := base64.StdEncoding.DecodeString(rest)
		if namespace == bundle.List {
			if _, err := tr.TakeList(raw); err != nil {
				panic(err)
			}
			continue
		}
		o, err := tr.Judge(raw, "avocet-1")
		if err == nil {
			err = tr.Accept(o)
		}
		if err != nil {
			panic(err)
		}
		fmt.Println(tr.Mark())
	}
}
