package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/config/bundle/bundletest"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/fleet"
	"github.com/ginnel/ginnel/cmd/internal/fleet/fleettest"
)

const (
	englandDir  = "/run/fleet"
	englandPort = "127.0.0.1:8480"
)

// playEngland has a desk with a fleet of ten thousand sites and a collector that
// knows what each of them runs. No gateway is there: what is measured is the
// desk's work.
func playEngland(ctx context.Context, s *stage) error {
	ctx = within(ctx, 5*time.Minute)
	desk, err := netns.New("desk", "127.0.0.1 localhost\n", "127.0.0.1")
	if err != nil {
		return err
	}
	e := &england{desk: desk, texts: map[string][]byte{}}
	if err := e.write(pick(s, 10_000, 1_000)); err != nil {
		return err
	}
	if err := e.enrolled(s); err != nil {
		return err
	}
	l, err := desk.Listen("tcp", englandPort)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: e.collector(), ReadHeaderTimeout: time.Minute}
	defer srv.Close()
	go srv.Serve(l)

	if err := e.ctl(ctx, s, "ginnelctl validate", 5, 0, "validate", englandDir); err != nil {
		return err
	}
	if err := e.ctl(ctx, s, "ginnelctl plan, nothing to do", 20, 0, "plan", englandDir); err != nil {
		return err
	}
	if err := e.addCheck(); err != nil {
		return err
	}
	return e.ctl(ctx, s, "ginnelctl plan, a check more at every site", 20, 2, "plan", englandDir)
}

// england is the desk, and what its collector knows.
type england struct {
	desk   *netns.Node
	signer bundletest.Operator
	states []centre.GatewayState
	keys   []centre.Keys
	texts  map[string][]byte // hash -> text that runs
}

// write makes the fleet's files, with a signer that we have the key of.
func (e *england) write(sites int) error {
	e.signer = bundletest.New("lab")
	return e.desk.Do(func() (err error) {
		if err = os.MkdirAll(englandDir, 0o755); err == nil {
			e.keys, err = fleettest.Write(englandDir, sites, append(fleettest.Signers, e.signer.Line()))
		}
		return err
	})
}

// enrolled has every gateway run what the files want of it, and measures the
// compiler with that.
func (e *england) enrolled(s *stage) error {
	var f *fleet.Fleet
	err := e.desk.Do(func() (err error) {
		if f, err = fleet.Load(englandDir); err == nil {
			err = f.Save() // the addresses that it gave
		}
		return err
	})
	if err != nil {
		return err
	}
	began := time.Now()
	all, err := f.CompileAll()
	if err != nil {
		return err
	}
	took, size := time.Since(began).Seconds(), 0
	for _, d := range all {
		text := d.Text(1)
		size += len(text)
		hash := bundle.Bundle{Text: text}.Hash()
		e.texts[hash] = text
		ref := centre.ConfigRef{Generation: 1, Hash: hash}
		e.states = append(e.states, centre.GatewayState{Name: d.Gateway, Enrolled: began.Add(-time.Hour), LastSeen: began, Version: "0.1.0",
			Health: checks.Up, Desired: ref, Running: ref, Mark: 1, State: block.ConfigApplied})
	}
	s.row(result{Name: "compile", Value: took, Unit: "s", Aim: "<= 10", Met: took <= 10,
		Detail: fmt.Sprintf("%s: %d configs, %.1f MB; each was parsed as its gateway would", f.Summary(), len(all), float64(size)/1e6)})
	return nil
}

// collector answers as far as a plan asks.
func (e *england) collector() http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /api/v1/fleet", func(w http.ResponseWriter, _ *http.Request) { answer(w, e.states) })
	mux.HandleFunc("GET /api/v1/keys", func(w http.ResponseWriter, _ *http.Request) { answer(w, e.keys) })
	mux.HandleFunc("POST /api/v1/configs", func(w http.ResponseWriter, r *http.Request) {
		var asked centre.Hashes
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		got := map[string][]byte{}
		for _, h := range asked.Hashes {
			if text := e.texts[h]; text != nil {
				b, err := bundle.Sign(text, bundle.Config, e.signer)
				if err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
					return
				}
				got[h] = b.Bytes()
			}
		}
		answer(w, centre.Bundles{Bundles: got})
	})
	return mux
}

// addCheck adds a check that every site in kestrel gets.
func (e *england) addCheck() error {
	const name = englandDir + "/fleet.toml"
	text, err := e.desk.ReadFile(name)
	if err != nil {
		return err
	}
	return e.desk.WriteFile(name, text+"\n[[check]]\nname = \"records-tls\"\nnetwork = \"kestrel\"\nkind = \"tcp\"\ntarget = \"198.51.100.20:8443\"\n", 0o644)
}

// ctl runs ginnelctl, which must end with a code, and measures how long it takes.
func (e *england) ctl(ctx context.Context, s *stage, name string, aim float64, code int, args ...string) error {
	began := time.Now()
	said, err := e.desk.Run(ctx, append([]string{"env", "GINNEL_KEYSTORE=/run/packs", "ginnelctl"}, args...)...)
	took, got := time.Since(began).Seconds(), 0
	if f, ok := errors.AsType[*netns.Failure](err); ok {
		got = f.Code
	}
	if got != code {
		return fmt.Errorf("%s ended with %d, want %d: %w\n%s", name, got, code, err, said)
	}
	lines := strings.SplitAfterN(said, "\n", 9)
	s.row(result{Name: name, Value: took, Unit: "s", Aim: fmt.Sprintf("<= %g", aim), Met: took <= aim,
		Detail: strings.TrimSpace(strings.Join(lines[:min(8, len(lines))], ""))})
	return nil
}
