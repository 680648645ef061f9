import java.io.InputStream;
import java.net.URL;

/** Prints what http://NAME:PORT/ answers. */
class Lookup {
    public static void main(String[] arguments) throws Exception {
        try (InputStream body = new URL("http", arguments[0], Integer.parseInt(arguments[1]), "/").openStream()) {
            System.out.print(new String(body.readAllBytes()));
        }
    }
}
