package centre

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// MaxRollout bounds the body of POST /api/v1/rollouts in bytes; every other
// body is bounded by MaxBody, but for the list, which has bundle.MaxSize.
const (
	MaxRollout = 128 << 20
	MaxBody    = 1 << 20
)

// Hashes is what POST /api/v1/configs asks for, of texts: at most MaxHashes.
type Hashes struct {
	Hashes []string `json:"hashes"`
}

// MaxHashes bounds how many configs are asked for at once.
const MaxHashes = 500

// Bundles is what POST /api/v1/configs answers: every bundle that the collector
// keeps, signature and all, by the hash of its text. One that it never had is
// left out. The desk signs a way back to such a text, so it believes the
// signature and not the collector.
type Bundles struct {
	Bundles map[string][]byte `json:"bundles"`
}

// Fleet gives what every gateway runs, by name; of an operator of one
// organisation, those that it may see.
func (c *Client) Fleet(ctx context.Context) ([]GatewayState, error) {
	var all []GatewayState
	return all, c.get(ctx, "/api/v1/fleet", &all)
}

// Keys gives the proofs of WireGuard keys that gateways sent. Nothing in them
// is believed here: see cmd/internal/keychain.
func (c *Client) Keys(ctx context.Context) ([]Keys, error) {
	var all []Keys
	return all, c.get(ctx, "/api/v1/keys", &all)
}

// Bundles gives the signed configs whose texts have these hashes, as many as
// the collector has.
func (c *Client) Bundles(ctx context.Context, hashes []string) (map[string][]byte, error) {
	all := make(map[string][]byte, len(hashes))
	for some := range slices.Chunk(hashes, MaxHashes) {
		var got Bundles
		if err := c.send(ctx, http.MethodPost, "/api/v1/configs", Hashes{some}, MaxBody, &got); err != nil {
			return nil, err
		}
		maps.Copy(all, got.Bundles)
	}
	return all, nil
}

// StartRollout sends a push. An *Error with Status 409: another rollout is on
// its way, or something else is wanted of a gateway since the plan was made.
func (c *Client) StartRollout(ctx context.Context, r NewRollout) (Rollout, error) {
	var began Rollout
	return began, c.send(ctx, http.MethodPost, "/api/v1/rollouts", r, MaxRollout, &began)
}

// Rollouts gives all rollouts without their gateways, the newest first.
func (c *Client) Rollouts(ctx context.Context) ([]Rollout, error) {
	var all []Rollout
	return all, c.get(ctx, "/api/v1/rollouts", &all)
}

// Rollout gives one rollout with its gateways.
func (c *Client) Rollout(ctx context.Context, id string) (Rollout, error) {
	var r Rollout
	return r, c.get(ctx, "/api/v1/rollouts/"+url.PathEscape(id), &r)
}

// Move is what may be done to a rollout on its way.
type Move string

// The moves of a rollout: POST /api/v1/rollouts/{id}/{move} answers with the
// rollout as it stands then.
const (
	MovePause  Move = "pause"
	MoveResume Move = "resume"
	MoveAbort  Move = "abort"
	MoveBack   Move = "back"
)

// MoveRollout pauses, resumes, ends or undoes a rollout.
func (c *Client) MoveRollout(ctx context.Context, id string, m Move) (Rollout, error) {
	var r Rollout
	return r, c.send(ctx, http.MethodPost, "/api/v1/rollouts/"+url.PathEscape(id)+"/"+string(m), nil, MaxBody, &r)
}

// Freeze gives what keeps rollouts from going on.
func (c *Client) Freeze(ctx context.Context) (Freeze, error) {
	var f Freeze
	return f, c.get(ctx, "/api/v1/freeze", &f)
}

// SetFreeze freezes rollouts, or, with a zero Until, lets them go on.
func (c *Client) SetFreeze(ctx context.Context, f Freeze) (Freeze, error) {
	var now Freeze
	return now, c.send(ctx, http.MethodPut, "/api/v1/freeze", f, MaxBody, &now)
}

// List gives the list of what is shut out, and where it has arrived.
func (c *Client) List(ctx context.Context) (List, error) {
	var l List
	return l, c.get(ctx, "/api/v1/list", &l)
}

// SetList puts a signed list in force.
func (c *Client) SetList(ctx context.Context, l NewList) (List, error) {
	var now List
	return now, c.send(ctx, http.MethodPut, "/api/v1/list", l, MaxRollout, &now)
}

// Audit gives acts with an ID above after, the oldest first, at most limit of
// them; limit 0 leaves it to the collector.
func (c *Client) Audit(ctx context.Context, after int64, limit int) ([]Act, error) {
	q := url.Values{"after": {strconv.FormatInt(after, 10)}}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var acts []Act
	return acts, c.get(ctx, "/api/v1/audit?"+q.Encode(), &acts)
}

// send sends what as JSON of at most most bytes, and reads the answer to to.
func (c *Client) send(ctx context.Context, method, path string, what any, most int, to any) error {
	body, err := json.Marshal(what)
	if err != nil {
		return fmt.Errorf("ask collector: %w", err)
	}
	if len(body) > most {
		return fmt.Errorf("ask collector: %s would be %d bytes, at most %d are taken", path, len(body), most)
	}
	raw, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	return decode(raw, to)
}
