package centre

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block/evidence"
)

// maxAnswer bounds what is read of one answer, in bytes.
const maxAnswer = 64 << 20

// Client asks a collector.
type Client struct {
	base string
	http *http.Client
}

// NewClient makes a client of the collector whose pages are at base, such as
// "http://127.0.0.1:8480". A nil hc is a client with a time limit of 30 s.
func NewClient(base string, hc *http.Client) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("collector: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("collector: %q is not a URL such as http://127.0.0.1:8480", base)
	}
	if hc == nil {
		hc = &http.Client{Timeout: 30 * time.Second}
	}
	return &Client{base: strings.TrimRight(base, "/"), http: hc}, nil
}

// Error is an answer of the collector that is not a success.
type Error struct {
	Status  int
	Message string
	Hint    string
}

func (e *Error) Error() string { return fmt.Sprintf("collector said %d: %s", e.Status, e.Message) }

// IsConflict says whether err is the collector's 409: somebody was there first.
func IsConflict(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == http.StatusConflict
}

// Sites gives all sites, worst first.
func (c *Client) Sites(ctx context.Context) ([]Site, error) {
	var sites []Site
	return sites, c.get(ctx, "/api/v1/sites", &sites)
}

// Site gives one site.
func (c *Client) Site(ctx context.Context, id string) (SiteDetail, error) {
	var d SiteDetail
	return d, c.get(ctx, "/api/v1/sites/"+url.PathEscape(id), &d)
}

// Evidence lists what was seen at a site when something broke, the newest first.
func (c *Client) Evidence(ctx context.Context, site string) (list []Evidence, err error) {
	return list, c.get(ctx, "/api/v1/sites/"+url.PathEscape(site)+"/evidence", &list)
}

// EvidenceOf gives one of it.
func (c *Client) EvidenceOf(ctx context.Context, site, gateway, id string) (*evidence.Bundle, error) {
	b := new(evidence.Bundle)
	return b, c.get(ctx, "/api/v1/sites/"+url.PathEscape(site)+"/evidence/"+url.PathEscape(gateway)+"/"+url.PathEscape(id), b)
}

// AddSite records a site with the hash of its enrolment token. The same site
// again replaces name, postcode, networks and token.
func (c *Client) AddSite(ctx context.Context, s NewSite) (Site, error) {
	var added Site
	return added, c.send(ctx, http.MethodPost, "/api/v1/sites", s, MaxBody, &added)
}

// Report gives a site's report of a month, "2026-11", in a format: "text",
// "html" or "json".
func (c *Client) Report(ctx context.Context, site, month, format string) ([]byte, error) {
	q := url.Values{"month": {month}, "format": {format}}
	return c.do(ctx, http.MethodGet, "/api/v1/sites/"+url.PathEscape(site)+"/report?"+q.Encode(), nil)
}

// CA gives what a site pack needs to know of the collector.
func (c *Client) CA(ctx context.Context) (CA, error) {
	var ca CA
	return ca, c.get(ctx, "/api/v1/ca", &ca)
}

// Health asks the collector for its own.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var h Health
	return h, c.get(ctx, "/api/v1/health", &h)
}

func (c *Client) get(ctx context.Context, path string, to any) error {
	raw, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return decode(raw, to)
}

func decode(raw []byte, to any) error {
	if err := json.Unmarshal(raw, to); err != nil {
		return fmt.Errorf("collector's answer is not what was asked for: %w", err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask collector: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask collector: %w", err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read collector's answer: %w", err)
	}
	if len(raw) > maxAnswer {
		return nil, fmt.Errorf("collector's answer is longer than %d bytes", maxAnswer)
	}
	if resp.StatusCode/100 != 2 {
		return nil, problem(resp, raw)
	}
	return raw, nil
}

// problem reads what a collector says, or what stands between says.
func problem(resp *http.Response, raw []byte) error {
	var p Problem
	if json.Unmarshal(raw, &p) == nil && p.Error != "" {
		return &Error{Status: resp.StatusCode, Message: p.Error, Hint: p.Hint}
	}
	return &Error{Status: resp.StatusCode, Message: http.StatusText(resp.StatusCode),
		Hint: "the answer is not one of a collector: is " + resp.Request.URL.Host + " its pages' address?"}
}
