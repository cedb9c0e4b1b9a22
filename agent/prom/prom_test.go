package prom

import "testing"

func TestText(t *testing.T) {
	var text Text
	text.Family("x_seconds", "gauge", "Time since x.")
	text.Sample(0.5, "site", "a\"b\\c\nd", "none", "")
	text.Sample(1764000000, "none", "")
	text.Sample(Bool(true))
	want := "# HELP x_seconds Time since x.\n# TYPE x_seconds gauge\nx_seconds{site=\"a\\\"b\\\\c\\nd\"} 0.5\nx_seconds 1.764e+09\nx_seconds 1\n"
	if got := text.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
