package plugin

import (
	"math"
	"strconv"
	"strings"

	"github.com/ginnel/ginnel/checks"
)

// parsePerfdata reads figures as the Monitoring Plugins Development Guidelines
// have them (2.6, performance data), with blanks in between:
//
//	'label'=value[UOM];[warn];[crit];[min];[max]
//
// Numbers come in base units. What is not of that form is left out, as is the
// value "U", which could not be measured.
func parsePerfdata(s string) (values []checks.Value) {
	for len(values) < stepsMax {
		label, rest, ok := cutLabel(strings.TrimLeft(s, " \t\r\n"))
		if !ok {
			return values
		}
		var figure string
		if i := strings.IndexAny(rest, " \t\r\n"); i >= 0 {
			figure, s = rest[:i], rest[i:]
		} else {
			figure, s = rest, ""
		}
		if v, ok := parseFigure(figure); ok && label != "" {
			v.Name = label
			values = append(values, v)
		}
	}
	return values
}

// cutLabel takes a label off, which may be in single quotes with a doubled one
// for one.
func cutLabel(s string) (label, rest string, ok bool) {
	if !strings.HasPrefix(s, "'") {
		label, rest, ok = strings.Cut(s, "=")
		if i := strings.LastIndexAny(label, " \t\r\n"); i >= 0 {
			label = label[i+1:] // before it is something else
		}
		return short(label), rest, ok
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		rest, ok = strings.CutPrefix(s[i+1:], "=")
		return short(b.String()), rest, ok
	}
	return "", "", false
}

// parseFigure reads value[UOM];[warn];[crit];[min];[max].
func parseFigure(s string) (v checks.Value, ok bool) {
	parts := strings.Split(s, ";")
	number := strings.TrimRight(parts[0], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ%")
	n, ok := finite(number)
	if !ok || len(parts) > 5 {
		return v, false
	}
	scale, unit := baseUnit(parts[0][len(number):])
	if v.Number, v.Unit = n*scale, unit; math.IsInf(v.Number, 0) {
		return v, false
	}
	for len(parts) < 5 {
		parts = append(parts, "")
	}
	v.Warn, v.Crit = scaledRange(parts[1], scale), scaledRange(parts[2], scale)
	for i, to := range map[int]**float64{3: &v.Min, 4: &v.Max} {
		if n, ok := finite(parts[i]); ok && !math.IsInf(n*scale, 0) {
			*to = new(n * scale)
		}
	}
	return v, true
}

func finite(s string) (float64, bool) {
	n, err := strconv.ParseFloat(strings.Replace(s, ",", ".", 1), 64) // some print by the locale
	return n, err == nil && !math.IsInf(n, 0) && !math.IsNaN(n)
}

// baseUnit turns a UOM into its base unit, and says by how much.
func baseUnit(uom string) (scale float64, unit string) {
	switch uom {
	case "s":
		return 1, "s"
	case "ms":
		return 1e-3, "s"
	case "us":
		return 1e-6, "s"
	case "ns":
		return 1e-9, "s"
	case "B":
		return 1, "By"
	case "KB", "KiB": // the plugins count 1024
		return 1 << 10, "By"
	case "MB", "MiB":
		return 1 << 20, "By"
	case "GB", "GiB":
		return 1 << 30, "By"
	case "TB", "TiB":
		return 1 << 40, "By"
	case "c", "":
		return 1, "1"
	}
	return 1, short(uom)
}

// scaledRange is a range, [@][low:][high], in the base unit; empty where it is
// none.
func scaledRange(s string, scale float64) string {
	inside := strings.HasPrefix(s, "@")
	low, high, two := strings.Cut(strings.TrimPrefix(s, "@"), ":")
	if !two {
		low, high = "", low
	}
	one := func(s string) (string, bool) {
		if s == "" || s == "~" {
			return s, true
		}
		n, ok := finite(s)
		return strconv.FormatFloat(n*scale, 'g', -1, 64), ok && !math.IsInf(n*scale, 0)
	}
	l, ok1 := one(low)
	h, ok2 := one(high)
	if !ok1 || !ok2 || l == "" && h == "" || h == "~" {
		return ""
	}
	out := h
	if two {
		out = l + ":" + h
	}
	if inside {
		out = "@" + out
	}
	return out
}
