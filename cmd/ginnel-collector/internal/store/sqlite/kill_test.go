package sqlite

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/storetest"
)

// ingestTo names the file that a copy of this test program ingests into until
// it is killed.
const ingestTo = "GINNEL_TEST_INGEST_TO"

// TestKilled kills a program in the midst of ingesting, again and again. What
// it acknowledged is there, and none of it twice.
func TestKilled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "collector.db")
	acknowledged := uint64(0)
	for range 8 {
		acknowledged = max(acknowledged, ingestAndDie(t, file))
		s := open1(t, file)
		var kept []uint64
		for b, err := range s.Blocks(t.Context(), "avocet-1", storetest.T0, storetest.T0.AddDate(10, 0, 0)) {
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, b.Sequence)
		}
		for i, n := range kept {
			if n != uint64(i+1) {
				t.Fatalf("block %d is in place %d: one is missing or there twice", n, i+1)
			}
		}
		if uint64(len(kept)) < acknowledged {
			t.Fatalf("%d blocks are there, %d were acknowledged", len(kept), acknowledged)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("killed 8 times; %d blocks acknowledged, all there", acknowledged)
	if acknowledged < 16 {
		t.Error("it never came to ingest")
	}
}

// ingestAndDie gives the last watermark that the program told before it died.
func ingestAndDie(t *testing.T, file string) uint64 {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestIngestUntilKilled$")
	cmd.Env = append(os.Environ(), ingestTo+"="+file)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(out)
	first, last := uint64(0), uint64(0)
	enough := 2 + rand.Uint64N(200)
	for last < first+enough { // and then at any point of the next
		if _, err := fmt.Fscanln(in, &last); err != nil {
			t.Fatalf("the program ended by itself: %v", err)
		}
		if first == 0 {
			first = last
		}
	}
	time.Sleep(rand.N(3 * time.Millisecond))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for { // what it told before it died counts
		if _, err := fmt.Fscanln(in, &last); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		} else if err != nil {
			break
		}
	}
	_ = cmd.Wait() // it was killed
	return last
}

// TestIngestUntilKilled is the program that TestKilled kills. On its own it
// ingests two blocks and ends.
func TestIngestUntilKilled(t *testing.T) {
	file, killed := os.Getenv(ingestTo), true
	if file == "" {
		file, killed = filepath.Join(t.TempDir(), "collector.db"), false
	}
	s, err := Open(t.Context(), file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	next := uint64(1) // a gateway begins again with what it does not know to be acknowledged
	for range 1_000_000 {
		batch := []store.Packed{}
		for range 1 + rand.IntN(4) {
			batch = append(batch, storetest.Pack(t, storetest.Block("avocet-1", 1, next+uint64(len(batch)))))
		}
		done, err := s.Ingest(t.Context(), "avocet-1", batch, storetest.T0)
		if err != nil {
			t.Fatal(err)
		}
		next = done.Sequence + 1
		if !killed {
			return
		}
		fmt.Println(done.Sequence)
	}
}
