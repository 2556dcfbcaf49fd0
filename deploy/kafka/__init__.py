"""An Apache Kafka broker out of Maven jars, for machines without a container engine."""
