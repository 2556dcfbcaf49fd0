// The Kafka Streams contender: answers, promoters and detractors per touchpoint and department in windows of seven days
// that begin every day, a record per changed window to a topic. Run by tests/load/peers/streams.py.
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.time.Instant;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.processor.TimestampExtractor;
import org.apache.kafka.streams.state.WindowStore;
import org.apache.kafka.common.utils.Bytes;

public final class Job {
    private static final JsonFactory JSON = new JsonFactory();
    private static final Duration WINDOW = Duration.ofDays(7);

    /** The few fields that the job needs, read in one pass over the body. */
    record Answer(long at, int score) {}

    static Answer read(byte[] body) {
        long occurred = 0;
        long received = 0;
        int score = -1;
        try (JsonParser parser = JSON.createParser(body)) {
            int depth = 0;
            for (JsonToken token = parser.nextToken(); token != null; token = parser.nextToken()) {
                if (token == JsonToken.START_OBJECT || token == JsonToken.START_ARRAY) {
                    depth++;
                } else if (token == JsonToken.END_OBJECT || token == JsonToken.END_ARRAY) {
                    depth--;
                } else if (token == JsonToken.FIELD_NAME) {
                    String name = parser.currentName();
                    if (depth == 1 && name.equals("occurred_at")) {
                        parser.nextToken();
                        occurred = Instant.parse(parser.getText()).toEpochMilli();
                    } else if (depth == 1 && name.equals("received_at")) {
                        parser.nextToken();
                        received = Instant.parse(parser.getText()).toEpochMilli();
                    } else if (depth == 3 && name.equals("value")) {
                        parser.nextToken();
                        score = (int) parser.getDoubleValue();
                    }
                }
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return new Answer(Math.min(occurred, received), score);
    }

    /** Event time, out of the value that the deserializer made. */
    public static final class EventTime implements TimestampExtractor {
        @Override
        public long extract(ConsumerRecord<Object, Object> record, long partitionTime) {
            return ((Answer) record.value()).at();
        }
    }

    private static final Serde<Answer> ANSWERS = Serdes.serdeFrom(
        (topic, answer) -> ByteBuffer.allocate(12).putLong(answer.at()).putInt(answer.score()).array(),
        (topic, body) -> read(body));

    private static final Serde<int[]> COUNTS = Serdes.serdeFrom(
        (topic, counts) -> counts == null ? null
            : ByteBuffer.allocate(12).putInt(counts[0]).putInt(counts[1]).putInt(counts[2]).array(),
        (topic, bytes) -> {
            if (bytes == null) {
                return null;
            }
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            return new int[] {buffer.getInt(), buffer.getInt(), buffer.getInt()};
        });

    public static void main(String[] arguments) throws InterruptedException {
        String servers = arguments[0];
        String input = arguments[1];
        String output = arguments[2];
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[3]);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, arguments[4]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[5]);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, servers);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 10 * 1024 * 1024);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        // As closeloop's consumers: how long a group waits for a member that died, and how soon it knows of a new one.
        settings.put(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, 15_000);
        settings.put(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG, 1_000);
        if (arguments[4].equals(StreamsConfig.AT_LEAST_ONCE)) {
            // Its default, 30 s, would be most of what the clock shows; exactly-once commits every 100 ms by itself.
            settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1_000);
        }
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");

        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(input, Consumed.with(Serdes.String(), ANSWERS).withTimestampExtractor(new EventTime()))
            .groupByKey(Grouped.with(Serdes.String(), ANSWERS))
            .windowedBy(TimeWindows.ofSizeAndGrace(WINDOW, Duration.ofDays(2)).advanceBy(Duration.ofDays(1)))
            .aggregate(
                () -> new int[3],
                (key, answer, counts) -> new int[] {
                    counts[0] + 1, counts[1] + (answer.score() >= 9 ? 1 : 0), counts[2] + (answer.score() <= 6 ? 1 : 0)},
                Materialized.<String, int[], WindowStore<Bytes, byte[]>>as("counts")
                    .withKeySerde(Serdes.String()).withValueSerde(COUNTS))
            .toStream()
            .to(output, Produced.with(WindowedSerdes.timeWindowedSerdeFrom(String.class, WINDOW.toMillis()), COUNTS));

        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        CountDownLatch ended = new CountDownLatch(1);
        streams.setStateListener((now, before) -> {
            if (now == KafkaStreams.State.RUNNING) {
                System.out.println("running");
            }
            if (now == KafkaStreams.State.ERROR) {
                ended.countDown();
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(20));
            ended.countDown();
        }));
        streams.start();
        ended.await();
    }
}
