package main

import (
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// shake sets the clock on by amount so often, a third of a second apart, and then
// back as often.
func shake(amount, times string) error {
	by, err := time.ParseDuration(amount)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(times)
	if err != nil {
		return err
	}
	for i := range 2 * n {
		if i == n {
			by = -by
		}
		time.Sleep(time.Second / 3)
		// With ADJ_NANO the second part is nanoseconds, and never below 0 (adjtimex(2)).
		whole := by.Truncate(time.Second)
		if whole > by {
			whole -= time.Second
		}
		t := unix.Timex{Modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO,
			Time: unix.Timeval{Sec: int64(whole / time.Second), Usec: int64(by - whole)}}
		if _, err := unix.Adjtimex(&t); err != nil {
			return fmt.Errorf("set the clock by %v: %w", by, err)
		}
	}
	return nil
}
