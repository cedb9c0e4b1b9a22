package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// playCollector cuts the collector off, and counts afterwards: in its store,
// and at the gateways.
func playCollector(ctx context.Context, s *stage) error {
	c, err := startCounty(ctx, s, pick(s, []string{"avocet", "bittern", "curlew", "dunlin", "egret", "fulmar"}, []string{"avocet", "bittern"})...)
	if err != nil {
		return err
	}
	defer c.Close()
	long := pick(s, 10*time.Minute, 30*time.Second)
	d, err := collectorAway(ctx, c, long,
		func() error { return c.Cut("collector") },
		func() error { return c.Heal("collector") })
	if err != nil {
		return err
	}
	detail := fmt.Sprintf("%v away; %d gateways kept %d minutes, %d arrived; store %d, gateways' own count %d",
		long, d.gateways, d.kept, d.arrived, d.stored, d.own)
	s.row(result{Name: "minutes that gateways kept", Value: float64(d.kept), Unit: "minutes",
		Aim: fmt.Sprintf(">= %d", d.gateways), Met: d.kept >= d.gateways, Detail: "else nothing was tried"})
	s.zero("lost", d.missing+max(0, d.kept-d.arrived), "minutes", detail)
	s.zero("there twice", d.twice, "minutes", detail)
	s.zero("between the store and the gateways' own count", d.own-d.stored, "minutes", detail)
	differ, blocks, err := sameNumbers(ctx, c)
	if err != nil {
		return err
	}
	s.zero("sites whose history and report differ", len(differ), "sites",
		fmt.Sprintf("ginnel history and ginnelctl report, every number, over %d minutes %s", blocks, strings.Join(differ, " ")))
	return nil
}
