package api

// KubernetesVersion is the release of Kubernetes whose API the program speaks, as server and nodes say alike. It is that of
// the k8s.io modules it is built with.
const KubernetesVersion = "v1.37.2+pintle"
