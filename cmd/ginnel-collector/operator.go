package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"text/tabwriter"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/access"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/control"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/sqlite"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

const operatorHelp = `
  --organisation ORG  sees and changes the networks and sites of ORG only
  -o FILE             where key and certificates go (NAME.pem)
  --days N            how long the certificate is good (365)
  --data DIR          store and authority (` + defaultData + `)
FILE has the key, which is kept nowhere else, the certificate, and that of the
authority, by which ginnelctl knows the pages.`

// operatorLife is how long an operator's certificate is good unless told.
const operatorLife = 365 // days

var (
	operatorName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.@_-]{0,62}[a-z0-9])?$`)
	organisation = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// operatorAdd makes an operator's certificate, in a file of theirs.
func operatorAdd(ctx context.Context, std cli.IO, args []string) error {
	flags := cli.Flags()
	data := flags.String("data", defaultData, "")
	org := flags.String("organisation", "", "")
	file := flags.String("o", "", "")
	days := flags.Int("days", operatorLife, "")
	words, err := cli.Parse(flags, args, 1, 1)
	if err != nil {
		return err
	}
	name := words[0]
	switch {
	case !operatorName.MatchString(name):
		return cli.Usagef("%q is no name of an operator: small letters, digits and . @ _ - within", name)
	case *org != "" && !organisation.MatchString(*org):
		return cli.Usagef("--organisation %q is no name: small letters, digits and hyphens, as in fleet.toml", *org)
	case *days < 1 || *days > 3650:
		return cli.Usagef("--days %d is not from 1 to 3650", *days)
	}
	if *file == "" {
		*file = name + ".pem"
	}
	return withStore(ctx, *data, func(st *sqlite.Store) error {
		return addOperator(ctx, std, st, *data, *file, store.Operator{Name: name, Organisation: *org}, time.Duration(*days)*24*time.Hour)
	})
}

func addOperator(ctx context.Context, std cli.IO, st *sqlite.Store, data, file string, o store.Operator, life time.Duration) error {
	cert, err := control.NewOperatorCertificate(data, o.Name, o.Organisation, life)
	if err != nil {
		return err
	}
	o.Serial, o.Added, o.Expires = cert.Serial, time.Now(), cert.Until
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return cli.WithHint(fmt.Errorf("write the operator's key: %w", err), "-o FILE, which must not be there yet")
	}
	_, err = f.Write(cert.PEM)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = st.AddOperator(ctx, o, store.Event{At: o.Added, Actor: access.Local, Act: "operator add", Object: o.Name,
			New: fmt.Sprintf("%s, serial %s, until %s", organisationText(o.Organisation), o.Serial, o.Expires.UTC().Format(time.DateOnly))})
	}
	if err != nil {
		os.Remove(file)
		if errors.Is(err, store.ErrUsed) {
			return cli.WithHint(fmt.Errorf("%s is an operator already", o.Name), "ginnel-collector operator remove "+o.Name+" makes the old certificate void")
		}
		return err
	}
	_, err = fmt.Fprintf(std.Out, `%s may use pages and API until %s: %s.
%s has the key, which is kept nowhere else: give it to %s, and to nobody else.
  ginnelctl --cert %s --ca %s --collector https://HOST:PORT
  openssl pkcs12 -export -in %s -out %s.p12       for a browser
`, o.Name, o.Expires.Format("2 Jan 2006"), organisationText(o.Organisation), file, o.Name, file, file, file, o.Name)
	return err
}

func organisationText(o string) string {
	if o == "" {
		return "all organisations"
	}
	return "organisation " + o
}

func operatorList(ctx context.Context, std cli.IO, args []string) error {
	flags := cli.Flags()
	data := flags.String("data", defaultData, "")
	if _, err := cli.Parse(flags, args, 0, 0); err != nil {
		return err
	}
	return withStore(ctx, *data, func(st *sqlite.Store) error {
		all, err := st.Operators(ctx)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			_, err := fmt.Fprintln(std.Out, "No operator is known. The first: ginnel-collector operator add NAME")
			return err
		}
		w := tabwriter.NewWriter(std.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "OPERATOR\tORGANISATION\tADDED\tUNTIL")
		for _, o := range all {
			until := o.Expires.Format(time.DateOnly)
			if time.Now().After(o.Expires) {
				until += " (expired)"
			}
			org := o.Organisation
			if org == "" {
				org = "all"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", o.Name, org, o.Added.Format(time.DateOnly), until)
		}
		return w.Flush()
	})
}

// operatorRemove makes a certificate void. A collector that runs asks the store
// at each request, so the next one is refused.
func operatorRemove(ctx context.Context, std cli.IO, args []string) error {
	flags := cli.Flags()
	data := flags.String("data", defaultData, "")
	words, err := cli.Parse(flags, args, 1, 1)
	if err != nil {
		return err
	}
	return withStore(ctx, *data, func(st *sqlite.Store) error {
		old, err := st.Operator(ctx, words[0])
		if err == nil {
			at := time.Now()
			err = st.RemoveOperator(ctx, words[0], at, store.Event{At: at, Actor: access.Local, Act: "operator remove", Object: old.Name,
				Old: fmt.Sprintf("%s, serial %s", organisationText(old.Organisation), old.Serial)})
		}
		if errors.Is(err, store.ErrNotFound) {
			return cli.WithHint(fmt.Errorf("%s is no operator", words[0]), "ginnel-collector operator list")
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(std.Out, "%s may no longer use pages and API of %s.\n", old.Name, filepath.Clean(*data))
		return err
	})
}
