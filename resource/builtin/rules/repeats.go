package rules

// Repeats tells of the items of a list whether one before it has the same key. Short lists, as nearly all are, are looked
// through; long ones would take time in the square of their length.
func Repeats[T any, K comparable](list []T, key func(*T) K) func(i int) bool {
	const short = 16
	if len(list) <= short {
		return func(i int) bool {
			k := key(&list[i])
			for j := range list[:i] {
				if key(&list[j]) == k {
					return true
				}
			}
			return false
		}
	}
	first := make(map[K]int, len(list))
	for i := range list {
		k := key(&list[i])
		if _, known := first[k]; !known {
			first[k] = i
		}
	}
	return func(i int) bool { return first[key(&list[i])] < i }
}
