package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// playStory is the life of a fleet, in the order in which it is lived. All the
// while Curlew Pharmacy asks its hospital for results every millisecond: nobody
// changes anything of that network there.
func playStory(ctx context.Context, s *stage) error {
	c, err := buildCounty(ctx, county.Whole().Only("avocet", "bittern", "curlew", "fulmar"), "scenario-"+s.name)
	if err != nil {
		return err
	}
	defer c.Close()
	api, err := c.Collector.API()
	if err != nil {
		return err
	}
	t := &tale{stage: s, c: c, api: api}
	if err := chapters(ctx, t.initFleet, t.enrolTheFirst, t.pushTheFirst); err != nil {
		return err
	}
	curlew := c.Site("curlew")
	pings, err := county.PingDuring(ctx, curlew.LAN, results, func() error {
		return chapters(ctx, t.addASite, t.breakIt, t.mendIt, t.replaceAGateway, t.revokeTheOld, t.readTheLog)
	})
	if err != nil {
		return err
	}
	s.zero("lost in a network that nobody changed, all the while", pings.Lost(), "packets",
		fmt.Sprintf("%s sent by curlew at a 1 ms ping%s", thousands(pings.Sent), overrun(pings)))
	return nil
}

// tale is a fleet, and who looks after it.
type tale struct {
	*stage
	c   *county.County
	api *centre.Client

	screens string // what technicians were shown
	disk    string // a copy of avocet's, from before it was replaced
	oldKey  string // of avocet in kestrel, before that
}

// initFleet begins with what `ginnelctl init` makes. The county's own sheets then
// take its place: two sites, the first of which is the canary. Avocet and Fulmar
// are in kestrel by hub-north, which is the network that will change.
func (t *tale) initFleet(ctx context.Context) error {
	if err := t.c.StartIdle(ctx); err != nil {
		return err
	}
	return t.desk(ctx,
		"ginnelctl init ../first --signer ../alice.pub --signer ../bob.pub",
		"ginnelctl validate ../first",
		`sed -i -e '/^bittern/d' -e '/^fulmar/d' sites.csv attachments.csv addresses.csv`,
		`sed -i '/^avocet,/s/$/canary/' sites.csv`,
		`sed -i -e '1i trial = "20s"' -e '/^where/d' fleet.toml`,
		"ginnelctl validate")
}

// enrolTheFirst gives packs to technicians, who carry them to the hubs and sites.
func (t *tale) enrolTheFirst(ctx context.Context) error {
	agents := []*county.Agent{t.c.Site("avocet").Agent, t.c.Site("curlew").Agent}
	for _, h := range t.c.Hubs {
		agents = append(agents, h.Agent)
	}
	for _, a := range agents {
		if err := t.enrol(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// pushTheFirst compares fingerprints and pushes.
func (t *tale) pushTheFirst(ctx context.Context) error {
	if err := t.compareFingerprints(ctx, 7, "ginnelctl plan --all"); err != nil {
		return err
	}
	if _, err := t.c.Push(ctx, "--no-rings"); err != nil {
		return err
	}
	return t.allUp(ctx, "up after the first push", "avocet", "curlew")
}

// addASite writes two rows into the spreadsheets, enrols what was put up there, and
// pushes a plan that somebody could have reviewed.
func (t *tale) addASite(ctx context.Context) error {
	err := t.desk(ctx,
		`echo 'fulmar,"Fulmar Medical Centre",gp,ZZ4 6FF,rest' >> sites.csv`,
		`echo 'fulmar,kestrel,192.168.44.0/24,,hub-north' >> attachments.csv`,
		"ginnelctl validate")
	if err != nil {
		return err
	}
	if err := t.enrol(ctx, t.c.Site("fulmar").Agent); err != nil {
		return err
	}
	if err := t.compareFingerprints(ctx, 1, "ginnelctl plan --all --out ../fulmar.plan"); err != nil {
		return err
	}
	if err := t.push(ctx, "../fulmar.plan"); err != nil {
		return err
	}
	return t.allUp(ctx, "up after a row in the spreadsheet", "avocet", "curlew", "fulmar")
}

// breakIt pushes an address at which no hub answers. Nothing at the desk can know.
func (t *tale) breakIt(ctx context.Context) error {
	err := t.desk(ctx, "cp fleet.toml ../good.toml", "sed -i 's/hub-north.example.net:51820/192.0.2.66:51820/' fleet.toml", "ginnelctl validate")
	if err != nil {
		return err
	}
	before, err := t.running(ctx)
	if err != nil {
		return err
	}
	avocet := t.c.Site("avocet")
	began := time.Now()
	code := 0
	pings, err := county.PingDuring(ctx, avocet.LAN, results, func() error {
		_, err := t.c.Push(ctx)
		if f, ok := errors.AsType[*netns.Failure](err); ok {
			code, err = f.Code, nil
		}
		return err
	})
	if err != nil {
		return err
	}
	took := time.Since(began)
	t.holds("a push that kills a tunnel stops, and says so", code == 3, fmt.Sprintf("ginnelctl push: exit %d", code))
	if err := t.wentBack(ctx, before, took); err != nil {
		return err
	}
	t.zero("lost meanwhile in the other network of the site that tried it", pings.Lost(), "packets",
		fmt.Sprintf("%s sent by avocet%s", thousands(pings.Sent), overrun(pings)))
	return nil
}

// wentBack looks at what became of the broken push.
func (t *tale) wentBack(ctx context.Context, before map[string]string, took time.Duration) error {
	r, err := t.newest(ctx)
	if err != nil {
		return err
	}
	after, err := t.running(ctx)
	if err != nil {
		return err
	}
	var evidence []string
	var others []string
	for _, g := range r.Gateways {
		if g.State == "failed" {
			evidence = append(evidence, g.Gateway+": "+g.Reason)
			evidence = append(evidence, g.Evidence...)
		} else if g.State != "waiting" {
			others = append(others, g.Gateway+" "+g.State)
		}
	}
	t.row(result{Name: "back on its old config by itself, from the push on", Value: took.Seconds(), Unit: "s", Aim: "<= 90",
		Met: took <= 90*time.Second && after["avocet-1"] == before["avocet-1"] && len(evidence) > 1})
	t.holds("the centre has evidence", len(evidence) > 1, strings.Join(evidence, "\n"))
	t.holds("the rollout stopped by itself", r.State == centre.RolloutPaused, r.Reason)
	t.zero("gateways of other rings that were touched", len(others), "gateways", strings.Join(others, "\n"))
	for name, hash := range before {
		if after[name] != hash {
			return fmt.Errorf("%s runs another config than before", name)
		}
	}
	return t.allUp(ctx, "up after it went back", "avocet", "curlew", "fulmar")
}

// mendIt takes the push back, mends the file, and pushes something good through
// the rings.
func (t *tale) mendIt(ctx context.Context) error {
	if err := t.desk(ctx, "ginnelctl rollout back", "cp ../good.toml fleet.toml", "ginnelctl plan"); err != nil {
		return err
	}
	for i := range pick(t.stage, 5, 1) {
		err := t.desk(ctx, fmt.Sprintf(`printf '\n[[check]]\nname = "ticket-%d"\nnetwork = "kestrel"\nkind = "tcp"\ntarget = "198.51.100.20:80"\ninterval = "1s"\ntimeout = "900ms"\n' >> fleet.toml`, i))
		if err != nil {
			return err
		}
		if _, err := t.c.Push(ctx); err != nil {
			return err
		}
	}
	r, err := t.newest(ctx)
	if err != nil {
		return err
	}
	at := map[string]time.Time{}
	for _, g := range r.Gateways {
		at[g.Gateway] = g.Since
	}
	t.holds("a good push goes through the rings in their order", r.State == centre.RolloutDone && at["avocet-1"].Before(at["fulmar-1"]),
		fmt.Sprintf("avocet in canary, fulmar %.1f s later in rest", at["fulmar-1"].Sub(at["avocet-1"]).Seconds()))
	_, _, err = t.c.Site("fulmar").Await(within(ctx, 30*time.Second), func(s block.Snapshot) bool {
		k, ok := county.Check(s, "ticket-0")
		return ok && k.State == checks.Up
	})
	return err
}

// replaceAGateway puts a new machine in place of avocet's, with another pack. Its
// keys are given to nobody before a person has approved them.
func (t *tale) replaceAGateway(ctx context.Context) error {
	avocet := t.c.Site("avocet")
	var err error
	if t.oldKey, err = avocet.Key(ctx, "kestrel"); err != nil {
		return err
	}
	if err := avocet.StopAgent(ctx); err != nil {
		return err
	}
	if t.disk, err = takeDisk(ctx, avocet); err != nil {
		return err
	}
	if _, err := avocet.Node.Run(ctx, "ginnel", "cleanup"); err != nil {
		return err
	}
	if err := wipeDisk(ctx, avocet); err != nil {
		return err
	}
	if err := errors.Join(avocet.Node.WriteFile("/etc/ginnel/ginnel.toml", county.HostConfig(), 0o644), avocet.StartAgent()); err != nil {
		return err
	}
	if _, err := avocet.AwaitAnswer(ctx); err != nil {
		return err
	}
	if err := t.enrol(ctx, avocet.Agent); err != nil {
		return err
	}
	if err := t.c.AwaitProofs(within(ctx, 30*time.Second), 2, avocet.Gateway()); err != nil {
		return err
	}
	if err := t.compareFingerprints(ctx, 2, "ginnelctl plan"); err != nil {
		return err
	}
	if err := t.desk(ctx, "ginnelctl keys approve avocet-1 --yes"); err != nil {
		return err
	}
	if err := t.push(ctx); err != nil {
		return err
	}
	return t.allUp(ctx, "up after a gateway was replaced", "avocet", "curlew", "fulmar")
}

// revokeTheOld shuts the old machine out, which is then switched on elsewhere.
func (t *tale) revokeTheOld(ctx context.Context) error {
	if _, err := t.c.List(ctx, "revoke", "avocet-1", "--former", "--why", "replaced, job 4471"); err != nil {
		return err
	}
	bittern := t.c.Site("bittern")
	if err := bittern.StopAgent(ctx); err != nil {
		return err
	}
	if err := putDisk(ctx, t.disk, bittern); err != nil {
		return err
	}
	if err := errors.Join(ownBootID(ctx, bittern), bittern.StartAgent()); err != nil {
		return err
	}
	const refusal = "this device of avocet-1 was revoked: replaced, job 4471"
	err := eventually(ctx, patient(30*time.Second), func() bool { return strings.Contains(t.c.Collector.Log(100), refusal) })
	t.holds("the old disk is refused at the collector", err == nil, refusal)
	_, said, err := bittern.Await(within(ctx, time.Minute), func(s block.Snapshot) bool {
		k, ok := county.Tunnel(s, "kestrel")
		return ok && k.State == checks.Down
	})
	if err != nil {
		return err
	}
	peers, err := t.c.Hub("hub-north").Node.Run(ctx, "wg", "show", "all", "peers")
	if err != nil {
		return err
	}
	t.holds("the old disk is refused at the hub", !strings.Contains(peers, t.oldKey), "it says: "+said.Headline+" "+said.Code)
	return t.allUp(ctx, "up beside the old disk", "avocet", "curlew", "fulmar")
}

// readTheLog finds the whole story again.
func (t *tale) readTheLog(ctx context.Context) error {
	log, err := t.c.Collector.Desk(ctx, "ginnelctl", "audit", "--json", "-n", "0")
	if err != nil {
		return err
	}
	missing := []string{"site add fulmar", "enrol fulmar-1", "rollout start 2", "rollout start 3", "rollout paused 3", "config failed avocet-1", "rollout back 3",
		"rollout start 4", "site add avocet", "enrol avocet-1", "rollout start", "list list"}
	told := 0
	for line := range strings.Lines(log) {
		var a centre.Act
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			return fmt.Errorf("ginnelctl audit --json: %w", err)
		}
		if told++; len(missing) > 0 && strings.HasPrefix(a.Act+" "+a.Object, missing[0]) {
			missing = missing[1:]
		}
	}
	t.zero("chapters that the log of acts does not tell, in their order", len(missing), "chapters",
		strings.Join(append([]string{fmt.Sprintf("of %d acts", told)}, missing...), "\n"))
	return nil
}
