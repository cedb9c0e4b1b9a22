package evidence_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/checks"
)

var at = time.Date(2026, 11, 23, 14, 15, 2, 0, time.UTC)

func sample() *evidence.Bundle {
	return &evidence.Bundle{
		Version: evidence.Version, ID: evidence.NewID("avocet-1", "records", at), Gateway: "avocet-1", Made: at.Add(13 * time.Second),
		Subject: evidence.Subject{Class: "check", Name: "records", Kind: "tcp", Network: "kestrel", Target: "203.0.113.20:443", StandsFor: "Records"},
		Change:  evidence.Change{At: at, Noticed: at.Add(2 * time.Second), From: checks.Up, To: checks.Down, Reason: checks.Refused, Detail: "connection refused"},
		Finding: evidence.Finding{Code: "GN-SVC-02", Object: "203.0.113.20:443", Text: "203.0.113.20:443 refuses the connection"},
		Packets: []evidence.Packet{{At: -2, RTT: 0.012, Fate: "answered"}, {At: -1, RTT: 0.014, Fate: "answered"}, {At: -0.5, Fate: "unsent"},
			{At: 0, Fate: "denied"}, {At: 1, Fate: "lost"}, {At: 2, RTT: 2, Fate: "late"}},
		Path: &evidence.Look{At: at, Kind: "path", Target: "203.0.113.20:443", Verdict: checks.OK, Steps: []evidence.Step{{Name: "hop 1", Took: 0.001, Detail: "100.64.1.1"}}},
		DNS:  &evidence.DNS{Answers: []evidence.Answer{}},
	}
}

func TestRoundTrip(t *testing.T) {
	want := sample()
	text, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := evidence.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestWords(t *testing.T) {
	b := sample()
	for got, want := range map[string]string{
		b.Headline(): "Records went from up to down: 203.0.113.20:443 refuses the connection",
		b.Course():   "..?|!x~",
		b.Before():   "2 of 2 answered, half of them within 14 ms",
		b.After():    "0 of 3 answered as they should, 1 refused or wrong",
		b.ID[:16]:    "20261123T141502-",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if p := b.Points(time.FixedZone("BST", 3600)); len(p) != 2 || p[0].Name != "Path" || !strings.Contains(p[0].Text, " at 15:15:02 BST: ok") || len(p[0].Lines) != 1 || p[0].Lines[0] != "hop 1: 100.64.1.1, 1 ms" {
		t.Errorf("%+v", p)
	}
}

// TestLongOnesLoseTheOldest has a document that is too long lose packets first,
// the oldest, and say how many.
func TestLongOnesLoseTheOldest(t *testing.T) {
	b := sample()
	b.Packets = nil
	for i := range 4000 {
		b.Packets = append(b.Packets, evidence.Packet{At: float64(i) - 3999, RTT: 0.0123, Fate: "answered"})
	}
	text, err := b.Encode()
	if err != nil || len(text) > evidence.MaxSize {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	got, err := evidence.Decode(text)
	if err != nil || got.Dropped == 0 || got.Dropped+len(got.Packets) != 4000 || got.Packets[len(got.Packets)-1].At != 0 || got.Path.Steps == nil {
		t.Errorf("%d dropped, %d left, %v", got.Dropped, len(got.Packets), err)
	}
	if len(b.Packets) != 4000 {
		t.Error("encoding has changed the bundle")
	}
	for i := range 400 {
		b.Path.Steps = append(b.Path.Steps, evidence.Step{Name: fmt.Sprint("hop ", i), Detail: strings.Repeat("x", 290)})
	}
	if text, err = b.Encode(); err != nil || len(text) > evidence.MaxSize || !bytes.Contains(text, []byte("the steps of path had no room")) {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func TestRefusesWhatIsNone(t *testing.T) {
	for name, change := range map[string]func(*evidence.Bundle){
		"version": func(b *evidence.Bundle) { b.Version = 2 },
		"id":      func(b *evidence.Bundle) { b.ID = "../20261123T141502-9f3a01c7" },
		"gateway": func(b *evidence.Bundle) { b.Gateway = "" },
		"state":   func(b *evidence.Bundle) { b.Change.To = "<b>" },
		"year":    func(b *evidence.Bundle) { b.Change.At = time.Time{} },
		"time":    func(b *evidence.Bundle) { b.Packets[0].RTT = -1 },
	} {
		b := sample()
		change(b)
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := evidence.Decode(text); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// FuzzDecode has nothing that is taken break what shows it.
func FuzzDecode(f *testing.F) {
	text, err := sample().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"version":1,"packets":[{"at_seconds":1e300}],"dns":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := evidence.Decode(text)
		if err != nil {
			return
		}
		b.Headline()
		b.Course()
		b.After()
		b.Points(time.UTC)
		if _, err := b.Encode(); err != nil && len(text) < evidence.MaxSize/8 {
			t.Error(err)
		}
	})
}
