package report

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// memory is a store in memory. A gateway has a block of an hour for every hour
// from its enrolment on, except those that are late.
type memory struct {
	sites    []store.Site
	gateways []store.Gateway
	late     func(gateway string, at time.Time) bool

	mu     sync.Mutex
	broken error
	kept   map[string][]byte
	saved  []string // in order
}

func (m *memory) Sites(context.Context) ([]store.Site, error)       { return m.sites, nil }
func (m *memory) Gateways(context.Context) ([]store.Gateway, error) { return m.gateways, nil }

func (m *memory) Site(_ context.Context, id string) (store.Site, error) {
	for _, s := range m.sites {
		if s.ID == id {
			return s, nil
		}
	}
	return store.Site{}, store.ErrNotFound
}

func (m *memory) Blocks(_ context.Context, gateway string, from, to time.Time) iter.Seq2[*block.Block, error] {
	return func(yield func(*block.Block, error) bool) {
		m.mu.Lock()
		broken := m.broken
		m.mu.Unlock()
		if broken != nil && gateway == "avocet-1" {
			yield(nil, broken)
			return
		}
		i := slices.IndexFunc(m.gateways, func(g store.Gateway) bool { return g.Name == gateway })
		start := m.gateways[i].Enrolled.Truncate(time.Hour)
		for sequence := uint64(1); start.Before(to) && start.Before(time.Now()); sequence, start = sequence+1, start.Add(time.Hour) {
			if !start.Add(time.Hour).After(from) || m.late != nil && m.late(gateway, start) {
				continue
			}
			if !yield(&block.Block{Gateway: gateway, Epoch: 1, Sequence: sequence, Start: start, Length: time.Hour,
				Subjects: []block.Subject{{Class: block.CheckClass, Name: "records", StandsFor: "Patient records", State: checks.Up}}}, nil) {
				return
			}
		}
	}
}

func (m *memory) SaveReport(_ context.Context, site, month string, json []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[site+" "+month] = json
	m.saved = append(m.saved, fmt.Sprintf("%s %s at %s", site, month, time.Now().UTC().Format("Jan 2 15:04")))
	return nil
}

func (m *memory) Report(_ context.Context, site, month string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	raw, ok := m.kept[site+" "+month]
	if !ok {
		return nil, fmt.Errorf("report of %s: %w", site, store.ErrNotFound)
	}
	return raw, nil
}

func (m *memory) takeSaved() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := strings.Join(m.saved, ", ")
	m.saved = nil
	return s
}

// county has avocet, enrolled at some time, bittern, which waits to be, and
// curlew, enrolled later.
func county(enrolled time.Time) *memory {
	return &memory{
		kept:     make(map[string][]byte),
		sites:    []store.Site{{ID: "avocet", Name: "Avocet Surgery", Gateway: "avocet-1"}, {ID: "bittern", Gateway: "bittern-1"}, {ID: "curlew", Gateway: "curlew-1"}},
		gateways: []store.Gateway{{Name: "avocet-1", Site: "avocet", Enrolled: enrolled}, {Name: "curlew-1", Site: "curlew", Enrolled: enrolled.AddDate(0, 1, 0)}},
	}
}

// until sleeps to a time of the bubble, which begins on 1 January 2000.
func until(when time.Time) {
	time.Sleep(time.Until(when))
	synctest.Wait()
}

func start(t *testing.T, st Store) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- New(st, nil, nil).Run(ctx, func() {}) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func utc(month time.Month, day, hour int) time.Time {
	return time.Date(2000, month, day, hour, 0, 0, 0, time.UTC)
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\ngot  %s\nwant %s", what, got, want)
	}
}

func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := county(utc(1, 10, 0))
		stop := start(t, st)
		until(utc(2, 1, 5))
		want(t, "within the grace", st.takeSaved(), "")
		until(utc(2, 1, 7))
		want(t, "January", st.takeSaved(), "avocet 2000-01 at Feb 1 06:00")
		until(utc(2, 28, 0))
		want(t, "in between", st.takeSaved(), "")
		until(utc(3, 1, 7))
		want(t, "February", st.takeSaved(), "avocet 2000-02 at Mar 1 06:00, curlew 2000-02 at Mar 1 06:00")
		// summer time: April ends at 23:00 UTC, and the grace six hours later
		until(utc(4, 30, 23))
		st.takeSaved()
		until(utc(5, 1, 4))
		want(t, "April, within the grace", st.takeSaved(), "")
		until(utc(5, 1, 6))
		want(t, "April", st.takeSaved(), "avocet 2000-04 at May 1 05:00, curlew 2000-04 at May 1 05:00")
		stop()
		until(utc(7, 15, 12)) // the collector is off
		stop = start(t, st)
		synctest.Wait()
		want(t, "caught up", st.takeSaved(), "avocet 2000-05 at Jul 15 12:00, avocet 2000-06 at Jul 15 12:00, "+
			"curlew 2000-05 at Jul 15 12:00, curlew 2000-06 at Jul 15 12:00")
		stop()
	})
}

// TestLateBlocks: a kept report with a hole is made again when the hole is
// filled, and the one of another site is left alone.
func TestLateBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var arrived atomic.Bool
		st := county(utc(1, 1, 0))
		st.gateways = st.gateways[:1]
		st.late = func(_ string, at time.Time) bool { return !arrived.Load() && at.Month() == 1 && at.Day() > 20 }
		defer start(t, st)()
		m := New(st, nil, nil)
		read := func() string {
			t.Helper()
			b, err := m.Write(t.Context(), "avocet", "2000-01", Text)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		until(utc(2, 3, 0))
		want(t, "first", st.takeSaved(), "avocet 2000-01 at Feb 1 06:00")
		if text := read(); !strings.Contains(text, "up 64.52 %    down 0.00 %    unknown 35.48 %") {
			t.Errorf("with a hole:\n%s", text)
		}
		until(utc(2, 10, 0).Add(time.Minute))
		arrived.Store(true)
		until(utc(2, 12, 0))
		want(t, "again", st.takeSaved(), "avocet 2000-01 at Feb 10 06:00")
		if text := read(); !strings.Contains(text, "up 100.00 %    down 0.00 %    unknown 0.00 %") || !strings.Contains(text, "We measured 100.00 % of the month.") {
			t.Errorf("filled:\n%s", text)
		}
		until(utc(2, 28, 0))
		want(t, "then never", st.takeSaved(), "")
	})
}

// TestOneSiteFails: the others get their reports, and it gets its own later.
func TestOneSiteFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := county(utc(1, 1, 0))
		st.gateways[1].Enrolled = utc(1, 1, 0)
		st.broken = errors.New("no such table")
		defer start(t, st)()
		until(utc(2, 1, 9))
		want(t, "one fails", st.takeSaved(), "curlew 2000-01 at Feb 1 06:00")
		st.mu.Lock()
		st.broken = nil
		st.mu.Unlock()
		until(utc(2, 1, 11))
		want(t, "later", st.takeSaved(), "avocet 2000-01 at Feb 1 10:00")
	})
}

func TestWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := county(utc(1, 1, 0))
		m := New(st, nil, nil)
		until(utc(1, 10, 12))
		for format, begins := range map[string]string{
			Text: "Avocet Surgery, January 2000 until Mon 10 12:00 (Europe/London)", HTML: "<!DOCTYPE html>", JSON: "{\n  \"site\": \"avocet\"",
		} {
			b, err := m.Write(t.Context(), "avocet", "2000-01", format)
			if err != nil || !strings.HasPrefix(string(b), begins) {
				t.Errorf("%s: %v, %.80s", format, err, b)
			}
		}
		if _, err := m.Write(t.Context(), "nobody", "2000-01", Text); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("no such site: %v", err)
		}
		for month, format := range map[string]string{"2000-02": Text, "January": Text, "2000-01": "pdf"} {
			if _, err := m.Write(t.Context(), "avocet", month, format); err == nil {
				t.Errorf("%s as %s was made", month, format)
			}
		}
	})
}
