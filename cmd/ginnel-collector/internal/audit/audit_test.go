package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/sqlite"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/storetest"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

var quiet = slog.New(slog.DiscardHandler)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// acts is a store with n acts.
func acts(t *testing.T, n int) *sqlite.Store {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "collector.db"), quiet)
	must(t, err)
	t.Cleanup(func() { st.Close() })
	for i := range n {
		act(t, st, i+1)
	}
	return st
}

func act(t *testing.T, st *sqlite.Store, i int) {
	t.Helper()
	must(t, st.Audit(t.Context(), store.Event{At: storetest.T0.Add(123456789), Actor: "sam", From: "192.0.2.1", Act: "site add", Object: strconv.Itoa(i),
		Old: "Café \U0001F600\n", New: `<b>"x"</b>`}))
}

// run carries acts in the background until stop.
func run(t *testing.T, st Store, to Sink) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := Run(ctx, st, to, quiet); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

func objects(t *testing.T, text string) string {
	t.Helper()
	var all []string
	for line := range strings.Lines(text) {
		var a centre.Act
		must(t, json.Unmarshal([]byte(line), &a))
		all = append(all, a.Object)
	}
	return strings.Join(all, " ")
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestPrint(t *testing.T) {
	t.Parallel()
	st := acts(t, 3)
	var out bytes.Buffer
	must(t, Print(t.Context(), st, &out, 1, false))
	if got := objects(t, out.String()); got != "2 3" {
		t.Errorf("acts %s, want 2 3", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Print(ctx, st, w, 2, true) }()
	lines := bufio.NewScanner(r)
	for i := 3; i < 6; i++ {
		if !lines.Scan() || objects(t, lines.Text()) != strconv.Itoa(i) {
			t.Fatalf("line %q, want that of %d", lines.Text(), i)
		}
		act(t, st, i+1)
	}
	cancel()
	go io.Copy(io.Discard, r)
	must(t, <-ended)
}

// TestFileGoesOn exports what is new only after a restart, also when the file
// was moved away meanwhile.
func TestFileGoesOn(t *testing.T) {
	t.Parallel()
	st := acts(t, batch+2)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	read := func() string { text, _ := os.ReadFile(path); return string(text) }
	sink, err := File(path)
	must(t, err)
	stop := run(t, st, sink)
	await(t, "all are there", func() bool { return strings.Count(read(), "\n") == batch+2 })
	stop()
	must(t, os.Rename(path, path+".1"))
	act(t, st, batch+3)
	sink, err = File(path)
	must(t, err)
	stop = run(t, st, sink)
	await(t, "the new one is there", func() bool { return read() != "" })
	must(t, os.Remove(path))
	act(t, st, batch+4)
	await(t, "the next one is there", func() bool { return read() != "" })
	stop()
	if got := objects(t, read()); got != strconv.Itoa(batch+4) {
		t.Errorf("acts %s, want %d", got, batch+4)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := File(filepath.Join(path, "x")); err == nil {
		t.Error("a file that cannot be written was taken")
	}
}

// flaky refuses the first batches.
type flaky struct {
	refuse int
	got    chan string
}

func (f *flaky) Name() string { return "flaky" }

func (f *flaky) Send(_ context.Context, events []store.Event) error {
	if f.refuse--; f.refuse >= 0 {
		return errors.New("no")
	}
	for _, e := range events {
		f.got <- e.Object
	}
	return nil
}

func TestWhatIsNotTakenIsTriedAgain(t *testing.T) {
	t.Parallel()
	st := acts(t, 2)
	f := &flaky{refuse: 1, got: make(chan string, 9)}
	stop := run(t, st, f)
	for _, want := range []string{"1", "2"} {
		if got := <-f.got; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	await(t, "it is noted how far it came", func() bool {
		n, err := st.Exported(t.Context(), "flaky")
		return n == 2 && err == nil
	})
	stop()
}

// message holds a message to the grammar of RFC 5424, 6, and gives its text.
var message = regexp.MustCompile(`^<109>1 2026-11-02T08:00:00\.123456Z [!-~]{1,255} ginnel-collector [0-9]+ site_add - (\{[ -~]*\})$`)

func same(t *testing.T, m []byte, want store.Event) {
	t.Helper()
	parts := message.FindSubmatch(m)
	if parts == nil {
		t.Fatalf("no message of RFC 5424: %q", m)
	}
	var got centre.Act
	must(t, json.Unmarshal(parts[1], &got))
	if d := cmp.Diff(ActOf(want), got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestSyslog(t *testing.T) {
	st := acts(t, 2)
	events, err := st.FindEvents(t.Context(), store.EventFilter{OldestFirst: true, Limit: 9})
	must(t, err)

	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	defer socket.Close()
	local, err := net.ListenPacket("unixgram", filepath.Join(t.TempDir(), "log"))
	must(t, err)
	defer local.Close()
	for where, at := range map[string]net.PacketConn{"udp://" + socket.LocalAddr().String(): socket, "local": local} {
		sink, err := Syslog(where)
		must(t, err)
		if where == "local" {
			sink.(*syslog).address = local.LocalAddr().String()
		}
		must(t, sink.Send(t.Context(), events))
		for _, e := range events {
			buf := make([]byte, 65536)
			must(t, at.SetReadDeadline(time.Now().Add(time.Minute)))
			n, _, err := at.ReadFrom(buf)
			must(t, err)
			same(t, buf[:n], e)
		}
	}
}

// TestSyslogOverTCP counts octets, and connects anew.
func TestSyslogOverTCP(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	st := acts(t, 2)
	sink, err := Syslog("tcp://" + ln.Addr().String())
	must(t, err)
	run(t, st, sink)
	events, err := st.FindEvents(t.Context(), store.EventFilter{OldestFirst: true, Limit: 9})
	must(t, err)
	c, err := ln.Accept()
	must(t, err)
	in := bufio.NewReader(c)
	for _, e := range events {
		word, err := in.ReadString(' ')
		must(t, err)
		n, err := strconv.Atoi(strings.TrimSpace(word))
		must(t, err)
		m := make([]byte, n)
		_, err = io.ReadFull(in, m)
		must(t, err)
		same(t, m, e)
	}
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	again := make(chan struct{})
	go func() {
		defer close(again)
		if c, err := ln.Accept(); err == nil {
			c.Close()
		}
	}()
	for i := 3; ; i++ {
		act(t, st, i)
		select {
		case <-again:
			return
		case <-time.After(every):
		}
		if i > 30 {
			t.Fatal("it does not connect again")
		}
	}
}

func TestSyslogThatIsTooLong(t *testing.T) {
	sink, err := Syslog("udp://127.0.0.1:514")
	must(t, err)
	m, err := sink.(*syslog).message(store.Event{Actor: "sam", Act: "push", New: strings.Repeat("ä", 2000)})
	must(t, err)
	if len(m) > maxDatagram || !strings.Contains(string(m), "left out") || !strings.Contains(string(m), `"sam"`) {
		t.Errorf("%d bytes: %.300s", len(m), m)
	}
	for _, bad := range []string{"", "udp://", "udp://x", "tls://x:1", "http://x:514", "udp://x:1/y", "/dev/log"} {
		if _, err := Syslog(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	for s, want := range map[string]string{"": "-", "site add": "site_add", "ä\n": "-", strings.Repeat("x", 40): strings.Repeat("x", 32)} {
		if got := header(s, 32); got != want {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	}
}
