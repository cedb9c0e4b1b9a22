package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// AddSite records a site. An earlier token of its gateway that was not spent is
// void, and so is that of a first gateway which it takes the place of.
func (s *Store) AddSite(ctx context.Context, site store.Site, acts ...store.Event) error {
	networks, err := json.Marshal(site.Networks)
	if err != nil {
		return fmt.Errorf("add site %q: %w", site.ID, err)
	}
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		if err := isFree(ctx, tx, site); err != nil {
			return err
		}
		first, void, err := firstGateway(ctx, tx, site)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO site (id, name, postcode, gateway, networks, added)
			VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
			name = excluded.name, postcode = excluded.postcode, gateway = excluded.gateway, networks = excluded.networks`,
			site.ID, site.Name, site.Postcode, first, string(networks), micros(site.Added)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM token WHERE site = ?1 AND spent IS NULL AND gateway IN (?2, ?3)`,
			site.ID, site.Gateway, void); err != nil {
			return err
		}
		if site.TokenHash != [32]byte{} {
			if _, err := tx.ExecContext(ctx, `INSERT INTO token (hash, site, gateway, expires) VALUES (?, ?, ?, ?)`,
				site.TokenHash[:], site.ID, site.Gateway, micros(site.TokenExpires)); err != nil {
				return err
			}
		}
		return appendActs(ctx, tx, acts)
	})
	if err != nil {
		return fmt.Errorf("add site %q: %w", site.ID, err)
	}
	return nil
}

// isFree refuses a gateway that another site has, or waits for.
func isFree(ctx context.Context, tx *sql.Tx, site store.Site) error {
	var other string
	err := tx.QueryRowContext(ctx, `SELECT site FROM (SELECT id AS site, gateway FROM site UNION ALL SELECT site, name FROM gateway
		UNION ALL SELECT site, gateway FROM token WHERE spent IS NULL) WHERE gateway = ? AND site <> ? LIMIT 1`, site.Gateway, site.ID).Scan(&other)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("gateway %s of another site: %w", site.Gateway, store.ErrUsed)
}

// firstGateway is the site's from now on: the new one, unless both are of a site
// with several, numbered. void: whose place that takes.
func firstGateway(ctx context.Context, tx *sql.Tx, site store.Site) (first, void string, err error) {
	err = tx.QueryRowContext(ctx, `SELECT gateway FROM site WHERE id = ?`, site.ID).Scan(&first)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return site.Gateway, site.Gateway, nil
	case err != nil:
		return "", "", err
	case numbered(site.ID, first) && numbered(site.ID, site.Gateway):
		return first, site.Gateway, nil
	}
	return site.Gateway, first, nil
}

// numbered says whether a gateway's name is that of its site with a number.
func numbered(site, gateway string) bool {
	number, ok := strings.CutPrefix(gateway, site+"-")
	_, err := strconv.ParseUint(number, 10, 16)
	return ok && err == nil
}

// TokenGateway is the gateway that a token is for, spent or not.
func (s *Store) TokenGateway(ctx context.Context, hash [32]byte) (string, error) {
	var gateway string
	if err := s.read.QueryRowContext(ctx, `SELECT gateway FROM token WHERE hash = ?`, hash[:]).Scan(&gateway); err != nil {
		return "", missing(err, "token", "")
	}
	return gateway, nil
}

const siteColumns = `SELECT s.id, s.name, s.postcode, s.gateway, s.networks, s.added, t.hash, coalesce(t.expires, 0)
	FROM site s LEFT JOIN token t ON t.site = s.id AND t.gateway = s.gateway AND t.spent IS NULL`

func scanSite(row interface{ Scan(...any) error }) (store.Site, error) {
	var (
		site           store.Site
		networks       string
		added, expires int64
		hash           []byte
	)
	if err := row.Scan(&site.ID, &site.Name, &site.Postcode, &site.Gateway, &networks, &added, &hash, &expires); err != nil {
		return site, err
	}
	site.Added, site.TokenExpires = fromMicros(added), fromMicros(expires)
	copy(site.TokenHash[:], hash)
	return site, json.Unmarshal([]byte(networks), &site.Networks)
}

// Sites gives all sites in order of their id.
func (s *Store) Sites(ctx context.Context) ([]store.Site, error) {
	rows, err := s.read.QueryContext(ctx, siteColumns+` ORDER BY s.id`)
	if err != nil {
		return nil, fmt.Errorf("read sites: %w", err)
	}
	return collect(rows, "sites", scanSite)
}

// Site gives one site.
func (s *Store) Site(ctx context.Context, id string) (store.Site, error) {
	site, err := scanSite(s.read.QueryRowContext(ctx, siteColumns+` WHERE s.id = ?`, id))
	if err != nil {
		return store.Site{}, missing(err, "site", id)
	}
	return site, nil
}

// RedeemToken spends a token; see store.Store.
func (s *Store) RedeemToken(ctx context.Context, hash [32]byte, uid string, publicKey []byte, now time.Time) (store.Gateway, error) {
	var g store.Gateway
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		var (
			expires int64
			spent   sql.NullInt64
			byUID   sql.NullString
			byKey   []byte
		)
		err := tx.QueryRowContext(ctx, `SELECT t.expires, t.spent, t.uid, t.public_key, t.gateway, s.id
			FROM token t JOIN site s ON s.id = t.site WHERE t.hash = ?`, hash[:]).
			Scan(&expires, &spent, &byUID, &byKey, &g.Name, &g.Site)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return store.ErrNotFound
		case err != nil:
			return err
		case spent.Valid && (byUID.String != uid || !bytes.Equal(byKey, publicKey)):
			return store.ErrUsed
		case spent.Valid:
			g, err = scanGateway(tx.QueryRowContext(ctx, gatewayColumns+` WHERE g.name = ?`, g.Name))
			if err == nil && !bytes.Equal(g.PublicKey, publicKey) {
				return store.ErrUsed // another device has taken its place since
			}
			return err
		case !now.Before(fromMicros(expires)):
			return store.ErrExpired
		}
		g.InstanceUID, g.PublicKey, g.Enrolled = uid, bytes.Clone(publicKey), now.UTC().Truncate(time.Microsecond)
		return spend(ctx, tx, hash, g)
	})
	if err != nil {
		return store.Gateway{}, fmt.Errorf("redeem token: %w", err)
	}
	return g, nil
}

// spend marks the token and puts g in the place of the gateway of that name.
func spend(ctx context.Context, tx *sql.Tx, hash [32]byte, g store.Gateway) error {
	if _, err := tx.ExecContext(ctx, `UPDATE token SET spent = ?, uid = ?, public_key = ? WHERE hash = ?`,
		micros(g.Enrolled), g.InstanceUID, g.PublicKey, hash[:]); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO gateway (name, site, uid, public_key, enrolled) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET
		site = excluded.site, uid = excluded.uid, public_key = excluded.public_key, enrolled = excluded.enrolled`,
		g.Name, g.Site, g.InstanceUID, g.PublicKey, micros(g.Enrolled))
	if err != nil {
		return err
	}
	// What was heard before came from another machine.
	_, err = tx.ExecContext(ctx, `DELETE FROM seen WHERE gateway = ?`, g.Name)
	return err
}

const gatewayColumns = `SELECT g.name, g.site, g.uid, g.public_key, g.enrolled, coalesce(n.at, 0)
	FROM gateway g LEFT JOIN seen n ON n.gateway = g.name`

func scanGateway(row interface{ Scan(...any) error }) (store.Gateway, error) {
	var (
		g              store.Gateway
		enrolled, seen int64
	)
	err := row.Scan(&g.Name, &g.Site, &g.InstanceUID, &g.PublicKey, &enrolled, &seen)
	g.Enrolled, g.LastSeen = fromMicros(enrolled), fromMicros(seen)
	return g, err
}

// Gateways gives all enrolled gateways in order of their name.
func (s *Store) Gateways(ctx context.Context) ([]store.Gateway, error) {
	rows, err := s.read.QueryContext(ctx, gatewayColumns+` ORDER BY g.name`)
	if err != nil {
		return nil, fmt.Errorf("read gateways: %w", err)
	}
	return collect(rows, "gateways", scanGateway)
}

// Gateway gives one enrolled gateway.
func (s *Store) Gateway(ctx context.Context, name string) (store.Gateway, error) {
	g, err := scanGateway(s.read.QueryRowContext(ctx, gatewayColumns+` WHERE g.name = ?`, name))
	if err != nil {
		return store.Gateway{}, missing(err, "gateway", name)
	}
	return g, nil
}

func collect[T any](rows *sql.Rows, what string, scan func(interface{ Scan(...any) error }) (T, error)) ([]T, error) {
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", what, err)
		}
		all = append(all, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	return all, nil
}
