package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/config/bundle/bundletest"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/access"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// steered is a Steering that remembers what it was told.
type steered struct {
	fleet    []centre.GatewayState
	bundles  map[string][]byte
	rollouts []centre.Rollout
	freeze   centre.Freeze
	list     centre.List
	told     []string
	keys     []centre.Keys
}

func (s *steered) tell(by store.By, what string) { s.told = append(s.told, by.Name+" "+what) }

func (s *steered) Fleet(context.Context) ([]centre.GatewayState, error) { return s.fleet, nil }

func (s *steered) Keys(context.Context) ([]centre.Keys, error) {
	if s.keys != nil {
		return s.keys, nil
	}
	return []centre.Keys{{Gateway: "avocet-1"}, {Gateway: "egret-1"}}, nil
}

func (s *steered) Bundles(_ context.Context, hashes []string) (map[string][]byte, error) {
	got := map[string][]byte{}
	for _, h := range hashes {
		if b := s.bundles[h]; b != nil {
			got[h] = b
		}
	}
	return got, nil
}

func (s *steered) StartRollout(_ context.Context, by store.By, r centre.NewRollout) (centre.Rollout, error) {
	s.tell(by, "start "+r.Name)
	return s.rollouts[0], nil
}

func (s *steered) Rollouts(context.Context) ([]centre.Rollout, error) {
	all := slices.Clone(s.rollouts)
	for i := range all {
		all[i].Gateways = nil
	}
	return all, nil
}

func (s *steered) Rollout(_ context.Context, id string) (centre.Rollout, error) {
	for _, r := range s.rollouts {
		if r.ID == id {
			return r, nil
		}
	}
	return centre.Rollout{}, fmt.Errorf("rollout %q: %w", id, store.ErrNotFound)
}

func (s *steered) MoveRollout(ctx context.Context, by store.By, id string, m centre.Move) (centre.Rollout, error) {
	s.tell(by, string(m)+" "+id)
	return s.Rollout(ctx, id)
}

func (s *steered) Freeze(context.Context) (centre.Freeze, error) { return s.freeze, nil }

func (s *steered) SetFreeze(_ context.Context, by store.By, f centre.Freeze) (centre.Freeze, error) {
	s.tell(by, "freeze")
	return f, nil
}

func (s *steered) List(context.Context) (centre.List, error) { return s.list, nil }

func (s *steered) SetList(_ context.Context, by store.By, l centre.NewList) (centre.List, error) {
	s.tell(by, "list")
	return centre.List{Bundle: l.Bundle}, nil
}

// signed is a text with somebody's signature under it.
func signed(text, namespace string) bundle.Bundle {
	return bundletest.New("somebody").Bundle(text, namespace)
}

func wanted(gateway, endpoint, heron string) string {
	text := fmt.Sprintf("gateway = %q\n", gateway)
	for i, n := range []string{"kestrel", "heron"} {
		at, key := endpoint, "OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8="
		if i == 1 {
			if heron == "" {
				break
			}
			at, key = heron, "7g2K8p1o4mHn3QvR0c5Yt9bXwZl6sUeJdAfGiTkVxyE="
		}
		text += fmt.Sprintf("[[network]]\nname = %q\naddress = [\"100.64.%d.7/32\"]\nlan = [\"192.168.10.0/24\"]\n[[network.hub]]\nname = \"hub\"\npublic_key = %q\nendpoints = [%q]\nallowed_ips = [\"198.51.10%d.0/24\"]\n",
			n, i, key, at, i)
	}
	return text
}

// two is a desk of two organisations: avocet is in both, curlew in kestrel,
// egret in heron. The operators are sam, of all; kim, of kestrel; and hal, of
// heron.
func two(t *testing.T) (*desk, *steered) {
	d := newDesk(t)
	for id, networks := range map[string][]string{"avocet": {"kestrel", "heron"}, "curlew": {"kestrel"}, "egret": {"heron"}} {
		d.site(id, strings.ToUpper(id), checks.DegradedState, time.Second)
		old, err := d.store.Site(t.Context(), id)
		must(t, err)
		old.Networks = networks
		must(t, d.store.AddSite(t.Context(), old))
	}
	must(t, d.store.SetOrganisations(t.Context(), map[string]string{"kestrel": "kestrel", "heron": "heron"}))
	for name, organisation := range map[string]string{"sam": "", "kim": "kestrel", "hal": "heron"} {
		must(t, d.store.AddOperator(t.Context(), store.Operator{Name: name, Organisation: organisation, Serial: name}))
	}
	now := signed(wanted("avocet-1", "192.0.2.1:1", "192.0.2.2:1"), bundle.Config)
	s := &steered{
		fleet: []centre.GatewayState{{Name: "avocet-1", Site: "avocet", Desired: centre.ConfigRef{Generation: 1, Hash: now.Hash()}},
			{Name: "curlew-1", Site: "curlew"}, {Name: "egret-1", Site: "egret"}},
		bundles: map[string][]byte{now.Hash(): now.Bytes()},
		rollouts: []centre.Rollout{
			{ID: "2", Name: "fleet 2", By: "sam", State: centre.RolloutRunning, Rings: []centre.RingState{{Name: "canary", All: 2, Applied: 1}}, Gateways: []centre.PushState{
				{Gateway: "curlew-1", Ring: "canary", State: "applied"}, {Gateway: "egret-1", Ring: "canary", State: "failed", Evidence: []string{"hub-south dead"}}}},
			{ID: "1", Name: "fleet 1", By: "hal", State: centre.RolloutDone, Rings: []centre.RingState{{Name: "canary", All: 1}}, Gateways: []centre.PushState{{Gateway: "egret-1", Ring: "canary"}}},
		},
	}
	d.server.steer = s
	d.server.gate = access.Gate{Operators: d.store, Header: "X-Operator"}
	srv := httptest.NewServer(d.server.Handler())
	t.Cleanup(srv.Close)
	d.url = srv.URL
	return d, s
}

// as asks the API as an operator.
func (d *desk) as(name string) *centre.Client {
	d.Helper()
	c, err := centre.NewClient(d.url, &http.Client{Transport: header{"X-Operator", name}})
	must(d, err)
	return c
}

type header [2]string

func (h header) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set(h[0], h[1])
	return http.DefaultTransport.RoundTrip(r)
}

func refused(t *testing.T, err error, status int, want string) {
	t.Helper()
	e, ok := errors.AsType[*centre.Error](err)
	if !ok || e.Status != status || !strings.Contains(e.Message, want) {
		t.Errorf("%v, want %d with %q", err, status, want)
	}
}

func TestScopedOperatorSees(t *testing.T) {
	d, steer := two(t)
	ctx, kim := t.Context(), d.as("kim")
	sites, err := kim.Sites(ctx)
	must(t, err)
	var names []string
	for _, s := range sites {
		names = append(names, s.ID)
		if slices.Contains(s.Networks, "heron") || strings.Contains(s.Headline, "heron") || s.State != checks.Up {
			t.Errorf("%s tells of heron: %+v", s.ID, s)
		}
	}
	if slices.Sort(names); !slices.Equal(names, []string{"avocet", "curlew"}) {
		t.Errorf("sites %v", names)
	}
	for _, path := range []string{"/", "/sites/avocet", "/api/v1/sites", "/api/v1/sites/avocet", "/metrics"} {
		if _, body, _ := d.get(path, "X-Operator", "kim"); strings.Contains(body, "heron") || strings.Contains(body, "egret") || strings.Contains(body, "hub-south") {
			t.Errorf("%s tells kim of others:\n%s", path, body)
		}
		if _, body, _ := d.get(path, "X-Operator", "sam"); !strings.Contains(body, "avocet") {
			t.Errorf("%s hides avocet from sam", path)
		}
	}
	for _, path := range []string{"/sites/egret", "/api/v1/sites/egret", "/api/v1/sites/egret/report?month=2026-11", "/api/v1/rollouts/1"} {
		if status, body, _ := d.get(path, "X-Operator", "kim"); status != 404 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _, _ := d.get("/api/v1/sites/avocet/report?month=2026-11", "X-Operator", "kim"); status != 403 {
		t.Errorf("a report of two organisations: %d", status)
	}
	steer.fleet[0].Headline, steer.fleet[0].Trial = "heron is down", &block.TrialSnapshot{Reason: "at fault", Evidence: []string{"kestrel: dead", "heron: dead"}}
	fleet, err := kim.Fleet(ctx)
	if err == nil && (strings.Contains(fleet[0].Headline, "heron") || len(fleet[0].Trial.Evidence) != 1) {
		t.Errorf("%+v %+v", fleet[0], fleet[0].Trial)
	}
	if err != nil || len(fleet) != 2 || fleet[0].Name != "avocet-1" || fleet[1].Name != "curlew-1" {
		t.Errorf("%v, %v", fleet, err)
	}
	if keys, err := kim.Keys(ctx); err != nil || len(keys) != 1 || keys[0].Gateway != "avocet-1" {
		t.Errorf("%v, %v", keys, err)
	}
	rollouts, err := kim.Rollouts(ctx)
	if err != nil || len(rollouts) != 1 || rollouts[0].Rings[0] != (centre.RingState{Name: "canary", All: 1, Applied: 1}) {
		t.Errorf("%+v, %v", rollouts, err)
	}
	one, err := kim.Rollout(ctx, "2")
	if err != nil || len(one.Gateways) != 1 || one.Gateways[0].Gateway != "curlew-1" {
		t.Errorf("%+v, %v", one, err)
	}
	steer.rollouts = append(steer.rollouts, centre.Rollout{ID: "3", State: centre.RolloutPaused, Reason: "1 of 1: avocet-1: heron is dead", Waits: "avocet-1 waits for egret-1",
		Rings: []centre.RingState{{Name: "canary", All: 1}}, Gateways: []centre.PushState{{Gateway: "avocet-1", Ring: "canary", State: "failed", Reason: "heron: no handshake",
			Worse: "degraded, was up: heron is down", Evidence: []string{"kestrel: dead", "heron: dead"}}}})
	one, err = kim.Rollout(ctx, "3")
	if text := fmt.Sprint(one); err != nil || strings.Contains(text, "heron") || strings.Contains(text, "egret") || !strings.Contains(text, "kestrel: dead") {
		t.Errorf("%v, %v", one, err)
	}
	steer.rollouts = steer.rollouts[:2]
	if all, err := d.as("sam").Rollouts(ctx); err != nil || len(all) != 2 {
		t.Errorf("%v, %v", all, err)
	}
	_, err = d.as("nobody").Sites(ctx)
	refused(t, err, 403, "operator nobody is not known here")
}

func TestScopedOperatorChanges(t *testing.T) {
	d, s := two(t)
	ctx, kim, sam := t.Context(), d.as("kim"), d.as("sam")
	site := func(id string, networks ...string) centre.NewSite {
		return centre.NewSite{ID: id, Name: id, Networks: networks, TokenSHA256: strings.Repeat("0", 63) + "1", Expires: now.Add(time.Hour)}
	}
	_, err := kim.AddSite(ctx, site("avocet", "kestrel"))
	refused(t, err, 403, "site avocet is not of kestrel alone")
	_, err = kim.AddSite(ctx, site("fulmar", "kestrel", "heron"))
	refused(t, err, 403, "in networks that are not of kestrel alone")
	_, err = kim.AddSite(ctx, site("fulmar"))
	refused(t, err, 403, "in networks that are not of kestrel alone")
	_, err = kim.AddSite(ctx, site("fulmar", "kestrel"))
	must(t, err)

	push := func(gateway, text string) centre.NewRollout {
		return centre.NewRollout{Name: "x", Pushes: []centre.Push{{Gateway: gateway, Bundle: signed(text, bundle.Config).Bytes()}}}
	}
	for want, r := range map[string]centre.NewRollout{
		"network heron would change":             push("avocet-1", wanted("avocet-1", "192.0.2.1:1", "192.0.2.9:1")),
		"network heron would change, and is":     push("curlew-1", wanted("curlew-1", "192.0.2.1:1", "192.0.2.2:1")),
		"gateway egret-1 is not of kestrel":      push("egret-1", wanted("egret-1", "192.0.2.1:1", "")),
		"a config of egret-1 is pushed":          push("avocet-1", wanted("egret-1", "192.0.2.1:1", "192.0.2.2:1")),
		`network heron would be given`:           {Organisations: map[string]string{"heron": "kestrel"}},
		`network new would be given`:             {Organisations: map[string]string{"new": "kestrel"}},
		"gateway avocet-1 would be asked for":    {Wanted: map[string][]string{"avocet-1": {"heron"}}},
		"gateway egret-1 would be asked for key": {Wanted: map[string][]string{"egret-1": {"kestrel"}}},
	} {
		_, err := kim.StartRollout(ctx, r)
		refused(t, err, 403, want)
	}
	back := push("avocet-1", wanted("avocet-1", "192.0.2.3:1", "192.0.2.2:1"))
	back.Pushes[0].Back = signed(wanted("avocet-1", "192.0.2.3:1", ""), bundle.Config).Bytes()
	_, err = kim.StartRollout(ctx, back)
	refused(t, err, 403, "network heron would change")
	_, err = kim.StartRollout(ctx, centre.NewRollout{Pushes: []centre.Push{{Gateway: "avocet-1", Bundle: []byte("x")}}})
	refused(t, err, 400, "the config for avocet-1 cannot be read: it is not signed")
	s.fleet[1].Running.Hash = "by hand"
	_, err = kim.StartRollout(ctx, push("curlew-1", wanted("curlew-1", "192.0.2.1:1", "")))
	refused(t, err, 403, "was not pushed from here")
	_, err = kim.MoveRollout(ctx, "2", centre.MovePause)
	refused(t, err, 403, "started by sam")
	_, err = kim.MoveRollout(ctx, "1", centre.MoveBack)
	refused(t, err, 404, "not found")
	_, err = sam.MoveRollout(ctx, "2", "burn")
	refused(t, err, 404, "nothing that can be done")
	_, err = kim.SetFreeze(ctx, centre.Freeze{})
	refused(t, err, 403, "holds for all organisations")
	if len(s.told) != 0 {
		t.Errorf("refused, and done: %v", s.told)
	}

	r := push("avocet-1", wanted("avocet-1", "192.0.2.3:1", "192.0.2.2:1"))
	r.Organisations, r.Wanted = map[string]string{"kestrel": "kestrel"}, map[string][]string{"curlew-1": {"kestrel"}}
	_, err = kim.StartRollout(ctx, r)
	must(t, err)
	_, err = sam.StartRollout(ctx, centre.NewRollout{Name: "y", Organisations: map[string]string{"heron": "osprey"}})
	must(t, err)
	s.rollouts[0].By = "kim"
	_, err = kim.MoveRollout(ctx, "2", centre.MovePause)
	must(t, err)
	if of, err := d.store.Organisations(ctx); err != nil || of["heron"] != "osprey" {
		t.Errorf("%v, %v", of, err)
	}
	if got := strings.Join(s.told, ", "); got != "kim start x, sam start y, kim pause 2" {
		t.Error(got)
	}
	events, err := d.store.Events(ctx, 1)
	if e := events[0]; err != nil || e.Actor != "sam" || e.Act != "network given" || e.Object != "heron" || e.Old != "heron" || e.New != "osprey" {
		t.Errorf("%+v, %v", e, err)
	}
}
