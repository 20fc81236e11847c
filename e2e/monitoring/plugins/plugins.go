// Package plugins takes the place of Prometheus's own of this name, which has clients of every cloud: of all discovery of
// targets, the test needs that of Kubernetes.
package plugins

import _ "github.com/prometheus/prometheus/discovery/kubernetes"
