package signing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// errNotThere says that the agent has no such key, or that there is no agent.
var errNotThere = errors.New("not in the ssh-agent")

// dial reaches the operator's ssh-agent.
func dial(ctx context.Context) (agent.ExtendedAgent, func(), error) {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, nil, fmt.Errorf("%w: none runs here (SSH_AUTH_SOCK is not set)", errNotThere)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: it does not answer: %w", errNotThere, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	return agent.NewClient(conn), func() { stop(); conn.Close() }, nil
}

// InAgent are the keys in the operator's ssh-agent that may sign.
func InAgent(ctx context.Context) (all bundle.Signers, err error) {
	client, done, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	keys, err := client.List()
	if err != nil {
		return nil, fmt.Errorf("ask the ssh-agent: %w", err)
	}
	for _, k := range keys {
		public, err := ssh.ParsePublicKey(k.Blob)
		if err != nil {
			continue // of a kind that x/crypto does not know
		}
		line := bundle.Signer{Name: k.Comment, Key: public}.String()
		if s, err := bundle.ParseSigner(line); err == nil {
			all = append(all, s)
		}
	}
	return all, nil
}

// fromAgent takes the key with the comment; empty: whichever would be believed.
func (o opener) fromAgent(comment string) (*Key, error) {
	all, err := InAgent(o.ctx)
	if err != nil {
		return nil, cli.WithHint(err, "ssh-add FILE, or --sign-with FILE")
	}
	var found bundle.Signers
	for _, s := range all {
		if comment == "" && o.takes(s) || comment != "" && s.Name == comment {
			found = append(found, s)
		}
	}
	switch {
	case len(found) == 0 && comment != "":
		return nil, cli.WithHint(fmt.Errorf("%w: no key %q", errNotThere, comment), "there is "+cmp.Or(tell(all), "none; ssh-add FILE"))
	case len(found) == 0:
		return nil, cli.WithHint(fmt.Errorf("%w: no key that a gateway would believe", errNotThere), "ssh-add FILE, or --sign-with FILE")
	case len(found) > 1 && (comment != "" || len(o.accepted) == 0):
		return nil, cli.WithHint(fmt.Errorf("%d keys of the ssh-agent could sign: %s", len(found), tell(found)),
			"--sign-with FILE.pub names one of them")
	case !o.takes(found[0]):
		return nil, o.refuse(found[0])
	}
	return agentKey(o.named(found[0])), nil
}

// agentKey signs by the agent, which is reached anew each time.
func agentKey(s bundle.Signer) *Key {
	return &Key{By: s, Where: "the ssh-agent", sign: func(ctx context.Context, text []byte, namespace string) (bundle.Bundle, error) {
		client, done, err := dial(ctx)
		if err != nil {
			return bundle.Bundle{}, err
		}
		defer done()
		signers, err := client.Signers()
		if err != nil {
			return bundle.Bundle{}, fmt.Errorf("ask the ssh-agent: %w", err)
		}
		for _, with := range signers {
			if string(with.PublicKey().Marshal()) == string(s.Key.Marshal()) {
				b, err := bundle.Sign(text, namespace, with)
				if err != nil && strings.Contains(err.Error(), "agent") {
					err = cli.WithHint(fmt.Errorf("the ssh-agent refused to sign: %w", err), "was it confirmed, or touched in time? Is the agent locked (ssh-add -X)?")
				}
				return b, err
			}
		}
		return bundle.Bundle{}, cli.WithHint(fmt.Errorf("%w any more: %s", errNotThere, s.Fingerprint()), "ssh-add FILE")
	}}
}
