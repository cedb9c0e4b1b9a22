package config

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// show quotes a value for a message: ASCII, and not more of it than one needs
// to find it.
func show(s string) string {
	if isSecret("", s) {
		return "(a key, not shown)"
	}
	return strconv.QuoteToASCII(shorten(s))
}

const shownMax = 48 // characters

func shorten(s string) string {
	r := []rune(s)
	if len(r) <= shownMax {
		return s
	}
	return string(r[:shownMax-3]) + "..."
}

// tell writes a duration without the zeros that String adds: 1m, not 1m0s.
func tell(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// plural is "1 hub", "2 hubs".
func plural(n int, one string) string {
	switch {
	case n == 1:
		return "1 " + one
	case strings.HasSuffix(one, "x"):
		return fmt.Sprintf("%d %ses", n, one)
	default:
		return fmt.Sprintf("%d %ss", n, one)
	}
}

// isSecretKey is true of keys whose values are keys, and belong in files of
// their own.
func isSecretKey(key string) bool {
	switch strings.ToLower(noHyphens.Replace(key)) {
	case "privatekey", "presharedkey":
		return true
	}
	return false
}

var noHyphens = strings.NewReplacer("-", "", "_", "")

// isSecret is true of values that must not be printed: by their shape, or by
// the name of their key.
func isSecret(path, text string) bool {
	last := strings.ToLower(path[strings.LastIndexByte(path, '.')+1:])
	last, _, _ = strings.Cut(last, "[")
	for _, word := range []string{"secret", "password", "passwd", "passphrase", "token", "credential", "authorization", "cookie", "api_key", "apikey"} {
		if strings.Contains(last, word) {
			return true
		}
	}
	if isSecretKey(last) || strings.Contains(text, "PRIVATE KEY") {
		return true
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	return err == nil && len(b) == 32
}

// refuseSecrets names every private or preshared key in the file, wherever it
// stands.
func (r *reader) refuseSecrets(path string, v *value) {
	for i, e := range v.list {
		r.refuseSecrets(item(path, i), e)
	}
	for _, k := range v.keys {
		if isSecretKey(k) {
			hint := "take it out of here; `ginnel key NETWORK` makes the key and keeps it in a 0600 file of its own"
			if strings.Contains(strings.ToLower(k), "shared") {
				hint = "put it into a 0600 file of its own and name that in preshared_key_file"
			}
			r.problem(v.of[k].key, join(path, k), hint, "a secret key must not be in this file")
			continue
		}
		r.refuseSecrets(join(path, k), v.of[k])
	}
}

// nearest is the known word that a misspelt one was probably meant to be;
// empty if none is near.
func nearest(word string, known []string) string {
	best, at := "", max(2, len(word)/2)+1
	for _, k := range known {
		d := distance(strings.ToLower(word), k)
		if d < at && d < len(k) {
			best, at = k, d
		}
	}
	return best
}

// distance is the number of letters to add, drop, change or swap with their
// neighbour.
func distance(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return longest
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// oneOf lists words for a hint: "a, b or c".
func oneOf(words []string) string {
	words = slices.Clone(words)
	switch len(words) {
	case 0:
		return ""
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
