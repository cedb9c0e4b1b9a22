package checks

// nearest returns the name that was probably meant; empty: none is near.
func nearest(typed string, names []string) string {
	best, least := "", 1+max(2, len(typed)/3)
	for _, n := range names {
		if d := distance(typed, n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance counts the insertions, deletions and substitutions between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
