package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/block/report"
	"github.com/ginnel/ginnel/agent/why"
)

// Errors that callers decide by.
var (
	// ErrNotRunning says that no agent answers on the socket.
	ErrNotRunning = errors.New("the agent does not run")
	// ErrForbidden says that the caller may not open the socket.
	ErrForbidden = errors.New("only root and the group " + Group + " may ask the agent")
)

// Error is an answer of the agent that says no.
type Error struct{ Text, Advice string }

func (e *Error) Error() string { return e.Text }

// Hint says what to do next; empty: nothing known.
func (e *Error) Hint() string { return e.Advice }

// LeftOut says what programs of checks are not as they were offered, each with
// where, what and what to do, on lines of its own. All else is in force.
type LeftOut struct {
	Text string `json:"left_out"`
}

func (e *LeftOut) Error() string { return e.Text }

// Client asks the agent. The zero Client asks on Socket.
type Client struct{ Path string }

// Snapshot tells how the gateway is now. Errors: ErrNotRunning, ErrForbidden.
func (c Client) Snapshot(ctx context.Context) (block.Snapshot, error) {
	var s block.Snapshot
	err := c.get(ctx, http.MethodGet, "/v1/status", &s)
	return s, err
}

// Why finds the first broken step of a network, or with an empty name of the
// whole site.
func (c Client) Why(ctx context.Context, network string) (*why.Report, error) {
	r := new(why.Report)
	return r, c.get(ctx, http.MethodGet, "/v1/why?network="+url.QueryEscape(network), r)
}

// Report is the gateway's own report of a month, "2026-11".
func (c Client) Report(ctx context.Context, month string) (*report.Report, error) {
	r := new(report.Report)
	return r, c.get(ctx, http.MethodGet, "/v1/report?month="+url.QueryEscape(month), r)
}

// Reload has the agent read its config again, and what programs are offered. With a
// *LeftOut all else is in force; an *Error means that the old config stays.
func (c Client) Reload(ctx context.Context) error {
	body, err := c.do(ctx, http.MethodPost, "/v1/reload", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	left := new(LeftOut)
	switch err := json.NewDecoder(body).Decode(left); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return fmt.Errorf("the agent's answer: %w", err)
	}
	return left
}

// Down takes the tunnels down.
func (c Client) Down(ctx context.Context) error { return c.post(ctx, "/v1/down") }

// Rollback goes back to the config before.
func (c Client) Rollback(ctx context.Context) error { return c.post(ctx, "/v1/rollback") }

func (c Client) post(ctx context.Context, path string) error {
	body, err := c.do(ctx, http.MethodPost, path, nil)
	if err != nil {
		return err
	}
	return body.Close()
}

// Enrol hands over a site pack and tells each step.
func (c Client) Enrol(ctx context.Context, pack []byte, progress func(Progress)) error {
	return c.follow(ctx, "/v1/enrol", pack, progress)
}

// Apply hands over a signed config and tells where its trial is.
func (c Client) Apply(ctx context.Context, bundle []byte, progress func(Progress)) error {
	return c.follow(ctx, "/v1/apply", bundle, progress)
}

// Renew has the data planes of a network replaced, or all where it is empty, and
// tells each.
func (c Client) Renew(ctx context.Context, network string, progress func(Progress)) error {
	return c.follow(ctx, "/v1/renew?network="+url.QueryEscape(network), nil, progress)
}

// follow asks for an act that tells of itself.
func (c Client) follow(ctx context.Context, path string, text []byte, progress func(Progress)) error {
	body, err := c.do(ctx, http.MethodPost, path, text)
	if err != nil {
		return err
	}
	defer body.Close()
	dec := json.NewDecoder(body)
	for {
		var p Progress
		if err := dec.Decode(&p); err != nil {
			return fmt.Errorf("the agent stopped in the middle of it: %w", err)
		}
		if !p.Final {
			progress(p)
			continue
		}
		if p.OK {
			return nil
		}
		return &Error{p.Text, p.Hint}
	}
}

// do sends one request and gives the body of a good answer.
func (c Client) do(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: c.dial}}
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNotRunning
	case errors.Is(err, fs.ErrPermission):
		return nil, ErrForbidden
	case err != nil:
		return nil, fmt.Errorf("ask the agent: %w", err)
	case resp.StatusCode < 300:
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var f failure
	if err := json.NewDecoder(resp.Body).Decode(&f); err != nil || f.Error == "" {
		return nil, fmt.Errorf("the agent answered %s", resp.Status)
	}
	return nil, &Error{f.Error, f.Hint}
}

func (c Client) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	path := c.Path
	if path == "" {
		path = Socket
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}
