// The links of a cluster and the ways through them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sim/cluster/cluster.h"
#include "sim/network/flow_list.h"

namespace lastbit::sim::network {

// Which of a cluster's bandwidths its links have.
enum class Rates { kPeak, kAttainable, kMessages };
[[nodiscard]] Rates parse_rates(const std::string& name);  // "peak", "attainable", "messages"; Error(kInput)

// What a link joins.
enum class VertexKind : std::uint8_t { kGpu, kNvSwitch, kNic, kLeaf, kSpine, kCore, kRouter };
struct Vertex {
  VertexKind kind;
  std::uint32_t group;  // plane, rail, pod or group; kAlone where there is but one
  std::uint32_t index;

  static constexpr std::uint32_t kAlone = UINT32_MAX;
  bool operator==(const Vertex&) const = default;
};
[[nodiscard]] std::string vertex_name(const Vertex& vertex);  // "l3", "p2s0", "r17"

// Links with their ends, by number.
struct LinkTable {
  LinkList links;
  std::vector<Vertex> from;
  std::vector<Vertex> to;

  std::uint32_t add(const Vertex& begin, const Vertex& end, double capacity, double latency_s);
  [[nodiscard]] std::string name(std::uint32_t link) const;  // "nicup12", "l3->s0"
};

// The switches between NICs: one object a shape of fabric. Ways are made when asked for; nothing is kept for pairs.
class Topology {
 public:
  virtual ~Topology() = default;
  // Number of shortest paths from one NIC to another; 0 when the fabric does not join them (two planes).
  [[nodiscard]] virtual std::uint32_t choices(std::uint32_t from_nic, std::uint32_t to_nic) const = 0;
  // Appends the links between switches of path `choice`; none when both NICs are on one switch.
  virtual void path(std::uint32_t from_nic, std::uint32_t to_nic, std::uint32_t choice,
                    std::vector<std::uint32_t>& route) const = 0;
  // The switch of a NIC.
  [[nodiscard]] virtual Vertex switch_of(std::uint32_t nic) const = 0;
};

// All links of a cluster, in this order: NVLink up and down of each GPU, PCIe up and down of each GPU where the file
// gives its bandwidth, up and down of each NIC, links between switches.
class Fabric {
 public:
  // Error(kInput): a failed link that the fabric does not have.
  Fabric(const cluster::Cluster& cluster, Rates rates);

  [[nodiscard]] const cluster::Cluster& cluster() const { return cluster_; }
  [[nodiscard]] const LinkList& links() const { return table_.links; }
  [[nodiscard]] const LinkTable& table() const { return table_; }
  [[nodiscard]] const Topology& topology() const { return *topology_; }
  [[nodiscard]] std::uint32_t num_gpus() const { return static_cast<std::uint32_t>(cluster_.gpus()); }
  [[nodiscard]] std::uint32_t first_nic_link() const { return first_nic_link_; }
  [[nodiscard]] std::uint32_t first_switch_link() const { return first_switch_link_; }
  [[nodiscard]] bool alive(std::uint32_t link) const { return !any_failed_ || !failed_[link]; }
  [[nodiscard]] std::uint32_t node_of(std::uint32_t gpu) const { return gpu / gpus_per_node_; }
  [[nodiscard]] std::uint32_t nic_of(std::uint32_t gpu) const;

  // A way from one GPU to another, all but the choice among equal paths through the switches: the NICs, and the GPUs
  // that traffic is forwarded through over NVLink where a GPU's own NIC is in another plane or has failed.
  struct Way {
    std::uint32_t from_nic;
    std::uint32_t to_nic;
    std::uint32_t from_gpu;  // that hands the traffic to its NIC
    std::uint32_t to_gpu;    // that takes it from its NIC
  };
  // Error(kInput), naming both GPUs, where failures leave none. Only for GPUs of different nodes.
  [[nodiscard]] Way way(std::uint32_t from, std::uint32_t to) const;
  // Appends an NVLink hop within a node.
  void append_nvlink(std::uint32_t from, std::uint32_t to, std::vector<std::uint32_t>& route) const;
  // Appends the links from the GPU that hands over to the GPU that takes, by path `choice`.
  void append_way(const Way& way, std::uint32_t choice, std::vector<std::uint32_t>& route) const;

 private:
  void add_gpu_links(Rates rates);
  void fail_links();
  [[nodiscard]] bool nic_alive(std::uint32_t nic) const { return alive(first_nic_link_ + 2 * nic); }
  // The GPU that uses `nic`, `preferred` if it does.
  [[nodiscard]] std::uint32_t gpu_at(std::uint32_t nic, std::uint32_t preferred) const;
  // A NIC of `gpu`'s node that reaches `to_nic`: its own if it can; UINT32_MAX: none.
  [[nodiscard]] std::uint32_t nic_towards(std::uint32_t gpu, std::uint32_t to_nic) const;

  cluster::Cluster cluster_;
  std::uint32_t gpus_per_node_;
  std::uint32_t nics_per_node_;
  LinkTable table_;
  std::uint32_t first_pcie_link_ = 0;
  std::uint32_t first_nic_link_ = 0;
  std::uint32_t first_switch_link_ = 0;
  std::unique_ptr<Topology> topology_;
  std::vector<bool> failed_;
  bool any_failed_ = false;
};

}  // namespace lastbit::sim::network
