package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/cmd/internal/fleet"
	"github.com/ginnel/ginnel/cmd/internal/keychain"
)

const siteAddHelp = `
  --fleet DIR       the fleet's folder; . unless given
  --name NAME       what people call the site; the technician hears it
  --postcode CODE   where it is; the technician hears it
  --network NAME    that the gateway is to join; once for each
  --gateway NAME    ID-1 unless given, or a hub's own name
  --days N          how long the pack is good; 14 unless given
  -o PACK           ID.toml unless given
` + desksHelp + `
What the fleet's files say of the site need not be said again. From them the pack
has the signers too: without a fleet.toml in DIR it has none, and its gateway
takes no pushed config.
The same site again gets a new pack, and the one before is void.
The pack's secret is kept in GINNEL_KEYSTORE, or ~/.config/ginnel/packs.`

// words is a flag that may be given more than once.
type words []string

func (w *words) String() string     { return strings.Join(*w, ",") }
func (w *words) Set(s string) error { *w = append(*w, s); return nil }

// order is what `site add` was asked for.
type order struct {
	site    identity.Site
	signers []string
	days    int
	file    string
}

// siteAdd makes a token and a secret here and writes them into a site pack. The
// collector is told the token's hash, and nothing of the secret, which stays in
// the operator's key store to verify by it what the gateway proves.
func siteAdd(ctx context.Context, std cli.IO, args []string) error {
	d, o, err := parseOrder(args)
	if err != nil {
		return err
	}
	c, err := d.client()
	if err != nil {
		return err
	}
	ca, err := c.CA(ctx)
	if err != nil {
		return d.advise(err)
	}
	pack := identity.Pack{Site: o.site, Collector: []string{ca.URL}, CA: ca.PEM, Token: identity.NewToken(), Secret: identity.NewSecret(), Signers: o.signers,
		Expires: time.Now().UTC().Truncate(time.Second).AddDate(0, 0, o.days)}
	if err := pack.Validate(); err != nil {
		return fmt.Errorf("site pack: %w", err)
	}
	secrets, err := keychain.OpenStore()
	if err != nil {
		return err
	}
	// The files first: a pack that nobody knows of is harmless, a token that
	// the collector waits for and nobody has is not seen.
	if err := identity.WritePack(o.file, pack); err != nil {
		return err
	}
	if err := secrets.Add(o.site.Gateway, pack.Secret); err != nil {
		return errors.Join(err, os.Remove(o.file))
	}
	hash := pack.Token.Hash()
	_, err = c.AddSite(ctx, centre.NewSite{ID: o.site.ID, Name: o.site.Name, Postcode: o.site.Postcode, Gateway: o.site.Gateway,
		Networks: o.site.Networks, TokenSHA256: hex.EncodeToString(hash[:]), Expires: pack.Expires})
	if err != nil {
		return errors.Join(d.advise(err), os.Remove(o.file), secrets.Drop(o.site.Gateway))
	}
	return sayNext(std, pack, o.file, secrets.Path(o.site.Gateway))
}

func parseOrder(args []string) (*desk, order, error) {
	var d desk
	var o order
	flags := cli.Flags()
	d.flags(flags)
	flags.StringVar(&o.site.Name, "name", "", "")
	flags.StringVar(&o.site.Postcode, "postcode", "", "")
	flags.StringVar(&o.site.Gateway, "gateway", "", "")
	flags.Var((*words)(&o.site.Networks), "network", "")
	flags.IntVar(&o.days, "days", 14, "")
	flags.StringVar(&o.file, "o", "", "")
	dir := flags.String("fleet", ".", "")
	ids, err := cli.Parse(flags, args, 1, 1)
	if err != nil {
		return nil, o, err
	}
	o.site.ID = ids[0]
	if err := o.ask(*dir); err != nil {
		return nil, o, err
	}
	o.site.Gateway = cmp.Or(o.site.Gateway, o.site.ID+"-1")
	o.file = cmp.Or(o.file, o.site.ID+".toml")
	for _, name := range append([]string{o.site.ID, o.site.Gateway}, o.site.Networks...) {
		if !identity.ValidName(name) {
			return nil, o, cli.WithHint(fmt.Errorf("%q is not a name", name), "small letters, digits and hyphens, such as avocet")
		}
	}
	switch {
	case strings.TrimSpace(o.site.Name) == "":
		return nil, o, cli.Usagef("--name is missing: what people call the site")
	case len(o.site.Networks) == 0:
		return nil, o, cli.Usagef("--network is missing: a network that the gateway is to join")
	case o.days < 1 || o.days > 366:
		return nil, o, cli.Usagef("--days %d is not from 1 to 366", o.days)
	}
	if _, err := os.Lstat(o.file); !errors.Is(err, fs.ErrNotExist) {
		return nil, o, cli.WithHint(fmt.Errorf("%s is there already", o.file), "remove it, or -o another")
	}
	return &d, o, nil
}

// ask takes from the fleet's files what was not said. Without files nothing is.
func (o *order) ask(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "fleet.toml")); errors.Is(err, fs.ErrNotExist) && dir == "." {
		return nil
	}
	f, err := fleet.Load(dir)
	if err != nil {
		return err
	}
	if _, hub := f.Gateway(o.site.ID); hub { // a site's gateways have other names than the site
		o.site.Gateway, o.site.Name = cmp.Or(o.site.Gateway, o.site.ID), cmp.Or(o.site.Name, o.site.ID)
	}
	gateway := cmp.Or(o.site.Gateway, o.site.ID+"-1")
	g, known := f.Gateway(gateway)
	if !known || g.Site != o.site.ID {
		return cli.WithHint(fmt.Errorf("%s is no gateway of %s in the fleet's files", gateway, o.site.ID), "sites.csv, and ginnelctl validate")
	}
	for _, s := range f.Sites {
		if s.ID == o.site.ID {
			o.site.Name, o.site.Postcode = cmp.Or(o.site.Name, s.Name), cmp.Or(o.site.Postcode, s.Postcode)
		}
	}
	if len(o.site.Networks) == 0 {
		o.site.Networks = g.Networks
	}
	o.signers = f.Signers
	return f.CanPush()
}

func sayNext(std cli.IO, p identity.Pack, file, secret string) error {
	_, err := fmt.Fprintf(std.Out, `%s, %s: the collector waits for %s.
  site pack  %s, good once, until %s
  secret     %s
             on this machine only: plan and push verify the gateway's keys by it
Next
  give it to the technician, as you would a key; at the gateway:
      sudo ginnel enrol %s
  ginnelctl sites %s      shows when it is there
`, p.Site.ID, p.Site.Name, p.Site.Gateway, file, p.Expires.Format("Mon 2 Jan 2006"), secret, filepath.Base(file), p.Site.ID)
	return err
}
