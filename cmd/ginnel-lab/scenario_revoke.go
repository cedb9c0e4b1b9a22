package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
)

// playRevoke revokes bittern's gateway and isolates the organisation kestrel, in
// which avocet is too. Curlew and avocet are in heron, which is another's, and
// must notice nothing of it.
func playRevoke(ctx context.Context, s *stage) error {
	c, err := startCounty(ctx, s, "avocet", "bittern", "curlew")
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Collector.Backup(ctx); err != nil { // it has no list
		return err
	}
	o := &outcast{stage: s, c: c}
	var avocet county.Pinged
	curlew, err := county.PingDuring(ctx, c.Site("curlew").LAN, results, func() (err error) {
		avocet, err = county.PingDuring(ctx, c.Site("avocet").LAN, results, func() error {
			return chapters(ctx, o.revoke, o.isolate, o.lie, o.reconnect)
		})
		return err
	})
	if err != nil {
		return err
	}
	s.zero("lost in the other organisation, all the while", avocet.Lost()+curlew.Lost(), "packets",
		fmt.Sprintf("%s sent by avocet and curlew at a 1 ms ping%s", thousands(avocet.Sent+curlew.Sent), overrun(curlew)))
	return nil
}

// outcast is a county with people who are shut out.
type outcast struct {
	*stage
	c *county.County
}

// inForce is how soon a list must be.
const inForce = time.Minute

func (o *outcast) revoke(ctx context.Context) error {
	if err := o.list(ctx, "bittern", false, "revoke", "bittern-1", "--why", "stolen, job 4471"); err != nil {
		return err
	}
	seen, err := o.ping(ctx, "avocet", records)
	if err != nil {
		return err
	}
	o.zero("lost by the other site of the same network", seen.Lost(), "packets", fmt.Sprintf("%d sent", seen.Sent))
	return nil
}

func (o *outcast) isolate(ctx context.Context) error {
	return o.list(ctx, "avocet", false, "isolate", "--organisation", "kestrel", "--why", "ransomware, by word of their SOC")
}

// lie restores the collector from a backup without any list, and has it make a
// newer one of its own, with the signature of a true one.
func (o *outcast) lie(ctx context.Context) error {
	api, err := o.c.Collector.API()
	if err != nil {
		return err
	}
	now, err := api.List(ctx)
	if err != nil {
		return err
	}
	at := bytes.Index(now.Bundle, []byte("-----BEGIN SSH SIGNATURE-----"))
	if at < 0 {
		return fmt.Errorf("list %d has no signature", now.Number)
	}
	forged := append([]byte("number = 99\n"), now.Bundle[at:]...)
	for _, one := range []struct {
		what string
		lies func() error
	}{
		{"the collector was restored from before it", func() error { return nil }},
		{"the collector made up a newer list", func() error { return o.c.Collector.PutList(ctx, 99, forged) }},
	} {
		if err := o.c.Collector.Restore(ctx, one.lies); err != nil {
			return err
		}
		sleep(ctx, pick(o.stage, 30*time.Second, 8*time.Second)) // two heartbeats at least
		if err := o.stillOut(ctx, one.what, now.Number, "bittern", "avocet"); err != nil {
			return err
		}
		if err := o.c.Collector.Restore(ctx, func() error { return nil }); err != nil { // the true one
			return err
		}
	}
	log := o.c.Hub("hub-north").Log(1 << 10)
	o.holds("the hub says that it does not believe that list", strings.Contains(log, "signature did not verify"), "")
	return nil
}

// stillOut looks whether sites are shut out, by the list of that number.
func (o *outcast) stillOut(ctx context.Context, when string, number uint64, sites ...string) error {
	answered, text := 0, ""
	for _, site := range sites {
		seen, err := o.ping(ctx, site, records)
		if err != nil {
			return err
		}
		answered += seen.Answered
		text += fmt.Sprintf("%s: %d of %d; ", site, seen.Answered, seen.Sent)
	}
	hub, err := o.c.Hub("hub-north").Status(ctx)
	if err != nil {
		return err
	}
	o.row(result{Name: "answered to who is shut out, after " + when, Value: float64(answered), Unit: "packets", Aim: "0",
		Met: answered == 0 && hub.Config.List == number, Detail: fmt.Sprintf("%shub-north has list %d", text, hub.Config.List)})
	return nil
}

func (o *outcast) reconnect(ctx context.Context) error {
	if err := o.list(ctx, "avocet", true, "reconnect", "--organisation", "kestrel"); err != nil {
		return err
	}
	if _, _, err := o.c.Site("avocet").Await(within(ctx, inForce), county.AllUp); err != nil {
		return err
	}
	_, _, err := o.c.Hub("hub-north").Await(within(ctx, inForce), func(s block.Snapshot) bool { return s.Config.List == 3 })
	if err != nil {
		return err
	}
	return o.stillOut(ctx, "the organisation was reconnected", 3, "bittern")
}

// list has the desk change the list, and measures until a site is refused in
// kestrel, or let in.
func (o *outcast) list(ctx context.Context, site string, in bool, args ...string) error {
	before, err := o.ping(ctx, site, records)
	if err != nil {
		return err
	}
	if (before.Answered == 0) != in {
		return fmt.Errorf("%s got %d of %d answers before ginnelctl %s", site, before.Answered, before.Sent, args[0])
	}
	began := time.Now()
	if said, err := o.c.List(ctx, args...); err != nil {
		return fmt.Errorf("%w\n%s", err, said)
	}
	var took time.Duration
	err = eventually(ctx, patient(2*inForce), func() bool {
		took = time.Since(began)
		seen, perr := o.ping(ctx, site, records)
		return perr == nil && (seen.Answered > 0) == in
	})
	if err != nil {
		return fmt.Errorf("ginnelctl %s: %w", args[0], err)
	}
	what := map[bool]string{false: "is refused", true: "is let in"}[in]
	o.row(result{Name: fmt.Sprintf("%s: from the command until %s %s", args[0], site, what), Value: took.Seconds(), Unit: "s",
		Aim: "<= 60", Met: took <= inForce})
	return nil
}

// ping asks a few times from a site's LAN.
func (o *outcast) ping(ctx context.Context, site string, target netip.Addr) (county.Pinged, error) {
	return county.Ping(ctx, o.c.Site(site).LAN, target, 10*time.Millisecond, 20)
}
